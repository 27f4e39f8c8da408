"""A page in the browser: restore a photograph, look at it before and after, and take it home in its own format."""

from maxl_sr.web.page import Limits, build, restore
from maxl_sr.web.server import main
from maxl_sr.web.sessions import Sessions

__all__ = ['Limits', 'Sessions', 'build', 'main', 'restore']

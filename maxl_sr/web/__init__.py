"""A page in the browser: restore a photograph, look at it before and after, and take it home in its own format."""

from typing import TYPE_CHECKING

from maxl_sr.utils.lazy import lazy

if TYPE_CHECKING:
    from maxl_sr.commands.doors import web as main
    from maxl_sr.web.limits import Limits
    from maxl_sr.web.page import build, restore
    from maxl_sr.web.sessions import Sessions

__all__ = ['Limits', 'Sessions', 'build', 'main', 'restore']
__getattr__ = lazy(__name__, {
    'Limits': 'maxl_sr.web.limits:Limits',
    'Sessions': 'maxl_sr.web.sessions:Sessions',
    'build': 'maxl_sr.web.page:build',
    'main': 'maxl_sr.commands.doors:web',
    'restore': 'maxl_sr.web.page:restore',
})

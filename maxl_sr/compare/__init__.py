"""One Markdown table of test results, or of folders of images against their ground truth."""

from typing import TYPE_CHECKING

from maxl_sr.utils.lazy import lazy

if TYPE_CHECKING:
    from maxl_sr.commands.doors import compare as main
    from maxl_sr.compare.image_tables import images
    from maxl_sr.compare.result_tables import results

__all__ = ['images', 'main', 'results']
__getattr__ = lazy(__name__, {
    'images': 'maxl_sr.compare.image_tables:images',
    'main': 'maxl_sr.commands.doors:compare',
    'results': 'maxl_sr.compare.result_tables:results',
})

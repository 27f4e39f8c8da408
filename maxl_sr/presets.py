"""The networks that come with the package, weights and all."""

from typing import NamedTuple


class Preset(NamedTuple):
    """A network with weights.

    Attributes:
        options: The option file of its test, in ``options``; the weights are ``weights/NAME.pth``.
        purpose: What it is for: 'denoise', 'enlarge' or 'sharpen'.
    """

    options: str
    purpose: str


PRESETS = {
    'fast': Preset('denoise/test_fast.yml', 'denoise'),
    'best': Preset('denoise/test_best.yml', 'denoise'),
    'paper': Preset('denoise/test_paper.yml', 'denoise'),
    'sr_x2': Preset('sr/test_x2.yml', 'enlarge'),
    'sr_x4': Preset('sr/test_x4.yml', 'enlarge'),
    'sr_blind_x2': Preset('sr/test_blind_x2.yml', 'enlarge'),
    'deblur_motion': Preset('deblur/test_motion.yml', 'sharpen'),
    'deblur_gopro': Preset('deblur/test_gopro.yml', 'sharpen'),
}

"""Denoisers of the literature beside ours, on the same images and by the same protocol."""

from collections.abc import Callable, Sequence

from maxl_sr.errors import UserError
from maxl_sr.presets import PRESETS
from maxl_sr.yardsticks.classical import BM3D, NonLocalMeansOpenCV, NonLocalMeansSkimage
from maxl_sr.yardsticks.method import Method
from maxl_sr.yardsticks.networks import FFDNet, Network
from maxl_sr.yardsticks.zero_shot import ZeroShotNoise2Noise

YARDSTICKS: dict[str, Callable[[Sequence[float] | None], Method]] = {
    'bm3d': BM3D, 'nlm-opencv': NonLocalMeansOpenCV, 'nlm-skimage': NonLocalMeansSkimage, 'ffdnet': FFDNet,
    'zs-n2n': ZeroShotNoise2Noise}


def find_method(text: str) -> Method:
    """Return the method that `text` names: a yardstick, a preset, or the option file of a test.

    Args:
        text: ``NAME``, or ``NAME:SETTING,SETTING…`` of a yardstick.

    Raises:
        UserError: There is no such method, it lacks a library, or a setting is no positive number.
    """
    name, colon, given = text.partition(':')
    if name not in YARDSTICKS:
        if text not in PRESETS and not text.endswith(('.yml', '.yaml')):
            raise UserError(f'there is no method {text}; there are {", ".join(YARDSTICKS)}, the presets '
                            f'{", ".join(PRESETS)}, and option files of tests')
        return Network(text)
    settings = None
    if colon:
        try:
            settings = [float(setting) for setting in given.split(',')]
        except ValueError as error:
            raise UserError(f'{text}: the settings of {name} must be numbers, separated by commas') from error
        if not all(0 < setting < float('inf') for setting in settings):
            raise UserError(f'{text}: the settings of {name} must be greater than 0')
    return YARDSTICKS[name](settings)

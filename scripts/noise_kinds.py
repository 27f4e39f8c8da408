"""Make docs/images/noise_kinds.jpg: every kind of noise that the data sets make, on one photograph.

``python scripts/noise_kinds.py``; the photograph is one that scikit-image installs.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from skimage import data

import maxl_sr  # noqa: F401  isort: skip
from maxl_sr.data.camera_noise import CameraNoise
from maxl_sr.data.degradation import Degradation, degrade
from maxl_sr.data.noise import Noise

PAGE = Path(__file__).resolve().parents[1] / 'docs/images/noise_kinds.jpg'
SIDE, COLUMNS, TEXT = 176, 5, 20
NONE = dict(gaussian=None, speckle=None, salt_pepper=None)
KINDS: dict[str, tuple[dict, dict]] = {  # noise, degradation
    'clean': ({}, {}),
    'gaussian 25': ({'gaussian': (25, 25)}, {}),
    'gaussian 25, grey': ({'gaussian': (25, 25), 'channels': 'grey'}, {}),
    'gaussian 25, any correlation': ({'gaussian': (25, 25), 'channels': 'any'}, {}),
    'gaussian 25, smooth 1.2': ({'gaussian': (25, 25), 'smooth': (1.2, 1.2)}, {}),
    'gaussian 25, line 7': ({'gaussian': (25, 25), 'line': (7, 7)}, {}),
    'gaussian 25, enlarge 2.5': ({'gaussian': (25, 25), 'enlarge': (2.5, 2.5)}, {}),
    'speckle 45': ({'speckle': (45, 45)}, {}),
    'salt_pepper 0.03': ({'salt_pepper': (0.03, 0.03)}, {}),
    'poisson 40': ({'poisson': (40, 40)}, {}),
    'grain 30': ({'grain': (30, 30)}, {}),
    'rows 12': ({'rows': (12, 12)}, {}),
    'columns 12': ({'columns': (12, 12)}, {}),
    'banding 12': ({'banding': (12, 12)}, {}),
    'periodic 15': ({'periodic': (15, 15)}, {}),
    'camera, shot 0.01': ({}, {'camera': CameraNoise(shot=(0.01, 0.01), read=(0.1, 0.1), blur=(0.5, 0.5))}),
    'gaussian 30, reduction 0.8': ({'gaussian': (30, 30)}, {'reduction': (0.8, 0.8)}),
    'gaussian 25, jpeg 30': ({'gaussian': (25, 25)}, {'jpeg': (30, 30)}),
    'gaussian 25, jpeg 50 twice': ({'gaussian': (25, 25)}, {'jpeg': (50, 50), 'jpeg_times': (2, 2)}),
    'levels 8': ({}, {'levels': (8, 8)}),
}


def main() -> None:
    """Write the picture."""
    clean = data.coffee()[60:60 + SIDE, 180:180 + SIDE, ::-1].astype(np.float32) / 255
    rows = -(-len(KINDS) // COLUMNS)
    sheet = Image.new('RGB', (COLUMNS * (SIDE + 6) - 6, rows * (SIDE + TEXT + 4)), 'white')
    font = ImageFont.load_default(13)
    for number, (text, (noise, how)) in enumerate(KINDS.items()):
        how = dict(how)
        camera = how.pop('camera', None)
        image = degrade(clean, Degradation(**how), Noise(**{**NONE, **noise}), 1, np.random.default_rng(5), camera)
        left, top = number % COLUMNS * (SIDE + 6), number // COLUMNS * (SIDE + TEXT + 4)
        sheet.paste(Image.fromarray((image[..., ::-1] * 255).round().astype(np.uint8)), (left, top))
        ImageDraw.Draw(sheet).text((left + 2, top + SIDE + 2), text, 'black', font=font)
    sheet.save(PAGE, quality=92, subsampling=0)


if __name__ == '__main__':
    main()

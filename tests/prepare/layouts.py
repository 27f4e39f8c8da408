"""Tiny synthetic copies of the official layouts, and the command on them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from maxl_sr import prepare
from maxl_sr.errors import UserError

SCENES = {'train': ['A_toy', 'N_plant', 'N_plant__4x'], 'val': ['A_door'],
          'crops': {'A_toy': 'A_5_160_toy', 'N_plant': 'N_6-3_125_plant', 'N_plant__4x': 'N_6-3_125_plant_pot',
                    'A_door': 'A_5_160_wall'}}


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colour noise, fine enough to be registered."""
    noise = np.random.default_rng(seed).normal(size=(height, width, 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 1.5) * 150 + 128, 0, 255).astype(np.uint8)


def save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imencode(path.suffix, image)[1].tofile(path)


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def state(folder: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in folder.rglob('*.png')}


def run(*argv: object) -> str:
    return prepare.run([*map(str, argv), '--jobs', '1'])


def fails(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """The one sentence of the mistake, the same from `run` and from the command line."""
    with pytest.raises(UserError) as info:
        run(*argv)
    capsys.readouterr()
    assert prepare.main([*map(str, argv), '--jobs', '1']) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f'error: {info.value}'
    assert '\n' not in str(info.value)
    return str(info.value)


@pytest.fixture
def polyu(tmp_path: Path) -> Path:
    root = tmp_path / 'polyu'
    crops = ['A_5_160_toy_1', 'A_5_160_toy_2', 'N_6-3_125_plant_1', 'N_6-3_125_plant__4', 'N_6-3_125_plant_pot_3',
             'A_5_160_wall_1']
    for i, scene in enumerate(['A_toy', 'N_plant', 'A_door']):
        save(root / 'OriginalImages' / f'{scene}_Real.JPG', texture(64, 96, i))
        save(root / 'OriginalImages' / f'{scene}_mean.JPG', texture(64, 96, i))
    for i, crop in enumerate(crops):
        save(root / 'CroppedImages' / f'{crop}_real.JPG', texture(32, 32, i))
        save(root / 'CroppedImages' / f'{crop}_mean.JPG', texture(32, 32, i))
    (root / 'split.json').write_text(json.dumps(SCENES))
    return root


def gopro(root, official):
    for sequence in ('GOPR0374_11_00', 'GOPR0477_11_00'):
        for number in range(2):
            image = texture(20, 30, number)
            if official:
                save(root / f'train/{sequence}/sharp/{number:06d}.png', image)
                save(root / f'train/{sequence}/blur/{number:06d}.png', image)
            else:
                save(root / f'{sequence}_st_frame-{number}_n_avg-8_gt.png', image)
                save(root / f'{sequence}_st_frame-{number}_n_avg-8.png', image)

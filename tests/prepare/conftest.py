"""The official layouts as fixtures."""

from pathlib import Path

import pytest

from tests.prepare.layouts import (
    polyu,  # noqa: F401
    save,
    texture,
)


@pytest.fixture
def nam(tmp_path: Path) -> Path:
    root = tmp_path / 'nam'
    for i, names_of_pair in enumerate(['d800_1_real.png d800_1_mean.png', 'd600.x_2_REAL.JPG d600.x_2_Mean.JPG']):
        for name in names_of_pair.split():
            save(root / name, texture(40, 48, i))
    return root


@pytest.fixture
def sidd(tmp_path: Path) -> Path:
    root = tmp_path / 'sidd'
    for i, scene in enumerate(['0001_001_S6_00100_N', '0002_002_GP_00200_L']):
        save(root / 'Data' / scene / 'GT_SRGB_010.PNG', texture(32, 32, i))
        save(root / 'Data' / scene / 'NOISY_SRGB_010.PNG', texture(32, 32, i))
    for number in ('010', '011'):  # Medium
        for kind in ('GT', 'NOISY'):
            save(root / 'Data' / '0003_010_IP_00300_N' / f'0003_{kind}_SRGB_{number}.PNG', texture(32, 32))
    (root / 'Data' / 'notes').mkdir()
    return root

"""Data preparation, on tiny synthetic copies of the official layouts."""

from pathlib import Path

import numpy as np
import pytest

from maxl_sr.prepare.registration import shift_between
from tests.helpers import DATA
from tests.prepare.layouts import fails, names, read, run, save, texture


def test_div2k_tiles_are_where_they_should_be(tmp_path: Path) -> None:
    big, small = texture(50, 70), texture(20, 90)
    save(tmp_path / 'hr' / '0001.png', big)
    save(tmp_path / 'hr' / '0002.BMP', small)
    save(tmp_path / 'hr' / 'deeper' / '0003.png', big)
    (tmp_path / 'hr' / 'readme.txt').write_text('no image')
    summary = run('div2k', tmp_path / 'hr', '-o', tmp_path / 'out', '--size', 32)
    # 50 px: rows 0, 16, and 18 to end at the border; 70 px: columns 0, 16, 32, 38
    starts = [(y, x) for y in (0, 16, 18) for x in (0, 16, 32, 38)]
    assert names(tmp_path / 'out' / 'gt') == [*(f'0001_s{i:03d}.png' for i in range(1, 13)), '0002_s001.png']
    for i, (y, x) in enumerate(starts, 1):
        tile = read(tmp_path / 'out' / 'gt' / f'0001_s{i:03d}.png')
        np.testing.assert_array_equal(tile, big[y:y + 32, x:x + 32])
    np.testing.assert_array_equal(read(tmp_path / 'out' / 'gt' / '0002_s001.png'), small)
    assert not (tmp_path / 'out' / 'lq').exists()
    assert '2 images: 13 tiles written, 0 already there' in summary
    assert '1 of the images are smaller than 32 px and were kept whole' in summary


def test_grey_deep_and_transparent_images_become_8_bit_colour(tmp_path: Path) -> None:
    grey = texture(16, 16)[..., 0]
    save(tmp_path / 'in' / 'grey.png', grey)
    save(tmp_path / 'in' / 'deep.png', texture(16, 16).astype(np.uint16) * 256)
    save(tmp_path / 'in' / 'deep_tiff.tif', texture(16, 16).astype(np.uint16) * 256)
    save(tmp_path / 'in' / 'alpha.png', np.dstack([texture(16, 16), grey]))
    run('div2k', tmp_path / 'in', '-o', tmp_path / 'out', '--size', 0)
    np.testing.assert_array_equal(read(tmp_path / 'out' / 'gt' / 'grey.png'), np.dstack([grey] * 3))
    for name in ('deep', 'deep_tiff', 'alpha'):
        tile = read(tmp_path / 'out' / 'gt' / f'{name}.png')
        assert tile.dtype == np.uint8
        np.testing.assert_allclose(tile.astype(int), texture(16, 16), atol=1)  # OpenCV's rounding of 16 bits


def test_nam_whole_images(nam: Path, tmp_path: Path) -> None:
    run('nam', nam, '-o', tmp_path / 'out')
    assert names(tmp_path / 'out' / 'lq') == names(tmp_path / 'out' / 'gt') == ['d600_x_2.png', 'd800_1.png']
    np.testing.assert_array_equal(read(tmp_path / 'out' / 'lq' / 'd800_1.png'), read(nam / 'd800_1_real.png'))
    np.testing.assert_array_equal(read(tmp_path / 'out' / 'gt' / 'd600_x_2.png'), read(nam / 'd600.x_2_Mean.JPG'))


def test_sidd_small_medium_and_held_out_scenes(sidd: Path, tmp_path: Path) -> None:
    run('sidd', sidd, '-o', tmp_path / 'all', '--size', 16)
    assert len(names(tmp_path / 'all' / 'lq')) == 16
    assert names(tmp_path / 'all' / 'gt')[-1] == '0003_010_IP_00300_N_011_s004.png'
    run('sidd', sidd / 'Data', '-o', tmp_path / 'some', '--size', 0, '--scenes', '001,010')
    some = ['0001_001_S6_00100_N_010.png', '0003_010_IP_00300_N_010.png', '0003_010_IP_00300_N_011.png']
    assert names(tmp_path / 'some' / 'lq') == some
    run('sidd', sidd, '-o', tmp_path / 'rest', '--size', 0, '--exclude-scenes', '002')
    assert names(tmp_path / 'rest' / 'gt') == some


def test_polyu_split_by_scene(polyu: Path, tmp_path: Path) -> None:
    def made(*options: str) -> list[str]:
        out = tmp_path / '_'.join(options)
        run('polyu', polyu, '-o', out, '--size', 32, *options)
        assert names(out / 'lq') == names(out / 'gt')
        return names(out / 'gt')

    train = ['A_5_160_toy_1', 'A_5_160_toy_2', 'N_6-3_125_plant_1', 'N_6-3_125_plant__4', 'N_6-3_125_plant_pot_3']
    assert made('--part', 'cropped', '--subset', 'train') == [f'{name}_s001.png' for name in train]
    assert made('--part', 'cropped', '--subset', 'val') == ['A_5_160_wall_1_s001.png']
    assert len(made('--part', 'cropped')) == 6
    # 64 x 96 px are 2 rows of 3 tiles
    assert made('--subset', 'train') == [f'{s}_s{i:03d}.png' for s in ('A_toy', 'N_plant') for i in range(1, 7)]
    assert made('--subset', 'val') == [f'A_door_s{i:03d}.png' for i in range(1, 7)]
    summary = run('polyu', polyu, '-o', tmp_path / 'sum', '--size', 32, '--part', 'cropped')
    assert '  N_plant: 2 kept, 0 dropped\n  N_plant__4x: 1 kept, 0 dropped' in summary
    (polyu / 'split.json').rename(tmp_path / 'elsewhere.json')
    run('polyu', polyu, '-o', tmp_path / 'x', '--split', tmp_path / 'elsewhere.json', '--subset', 'val', '--size', 32)
    assert len(names(tmp_path / 'x' / 'gt')) == 6
    assert '  N_6-3_125_plant: 2 kept' in run('polyu', polyu, '-o', tmp_path / 'y', '--part', 'cropped', '--size', 32)


def test_misregistered_tiles_are_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean = texture(128, 257)
    noisy = clean[:, :256].copy()
    noisy[:, 128:] = clean[:, 129:]  # the right half is 1 px off
    noise = np.random.default_rng(1).normal(0, 8, noisy.shape)
    noisy = np.clip(noisy + noise, 0, 255).astype(np.uint8)
    save(tmp_path / 'in' / 'a_real.png', noisy)
    save(tmp_path / 'in' / 'a_mean.png', clean[:, :256])
    assert shift_between(noisy[:, :128], clean[:, :128]) < 0.1
    assert shift_between(noisy[:, 128:], clean[:, 128:256]) == pytest.approx(1, abs=0.3)
    black = np.zeros((32, 32, 3), np.uint8)
    assert shift_between(black, black) == 0
    options = ('nam', tmp_path / 'in', '--size', 128)
    assert '1 tiles written, 0 already there, 1 dropped' in run(*options, '-o', tmp_path / 'o', '--max-shift', 0.3)
    assert '0 tiles written, 1 already there, 1 dropped' in run(*options, '-o', tmp_path / 'o', '--max-shift', 0.3)
    assert names(tmp_path / 'o' / 'lq') == ['a_s001.png']
    assert '2 tiles written' in run(*options, '-o', tmp_path / 'all')
    save(tmp_path / 'in' / 'a_real.png', np.roll(clean[:, :256], 3, axis=0))
    for extra in ([], ['--lmdb']):
        message = fails(capsys, *options, '-o', tmp_path / 'none', '--max-shift', 0.3, *extra)
        assert 'dropped' in message and str(tmp_path / 'in') in message
    assert not list((tmp_path / 'none').glob('*.lmdb'))


def test_real_polyu_crops(tmp_path: Path) -> None:
    data = DATA / 'polyu'
    if not (data / 'CroppedImages').is_dir():
        pytest.skip(f'PolyU is not in {data} (set MAXL_SR_DATA)')
    root = tmp_path / 'polyu'
    (root / 'CroppedImages').mkdir(parents=True)
    (root / 'split.json').symlink_to(data / 'split.json')
    for pattern in ('NikonD800_6-3_125_5000_plant_*', 'NikonD800_8_125_6400_photo_19_*', 'Sony_4_200_3200_door_*'):
        for path in (data / 'CroppedImages').glob(pattern):
            (root / 'CroppedImages' / path.name).symlink_to(path)
    command = ('polyu', root, '--part', 'cropped')
    val = run(*command, '-o', tmp_path / 'val', '--subset', 'val', '--max-shift', 0)
    assert '  SonyA7II_door: 2 kept, 0 dropped' in val
    train = run(*command, '-o', tmp_path / 'train', '--subset', 'train', '--max-shift', 0)
    assert '  Nikon800_photo: 1 kept, 0 dropped\n  Nikon800_plant: 5 kept, 0 dropped' in train
    assert read(tmp_path / 'train' / 'lq' / 'NikonD800_6-3_125_5000_plant__4_s001.png').shape == (512, 512, 3)
    # photo_19 is known to be half a pixel off
    assert '  Nikon800_photo: 0 kept, 1 dropped' in run(*command, '-o', tmp_path / 'strict', '--subset', 'train')

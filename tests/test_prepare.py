"""Data preparation, on tiny synthetic copies of the official layouts."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from maxl_sr import prepare
from maxl_sr.errors import UserError
from maxl_sr.prepare import outputs, tiles
from maxl_sr.prepare.registration import shift_between

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
def nam(tmp_path: Path) -> Path:
    root = tmp_path / 'nam'
    for i, names_of_pair in enumerate(['d800_1_real.png d800_1_mean.png', 'd600.x_2_REAL.JPG d600.x_2_Mean.JPG']):
        for name in names_of_pair.split():
            save(root / name, texture(40, 48, i))
    return root


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


def test_second_run_does_only_what_is_missing(nam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / 'out'
    command = ('nam', nam, '-o', out, '--size', 16)
    run(*command)
    before = state(out)
    assert len(before) == 2 * 2 * 9
    left = out / 'gt' / f'.{"0" * 32}.partial.png'
    left.write_bytes(b'of a kill')
    with monkeypatch.context() as patch:
        patch.setattr(tiles, 'read', lambda path: pytest.fail(f'{path} was read'))
        assert '0 tiles written, 18 already there' in run(*command)
    assert state(out) == before
    assert not left.exists()

    lost = out / 'lq' / 'd800_1_s005.png'
    pixels = read(lost)
    lost.unlink()
    assert '1 tiles written, 17 already there' in run(*command)
    np.testing.assert_array_equal(read(lost), pixels)
    after = state(out)
    assert {path for path in before if after[path] != before[path]} == {str(lost)}

    for kind in ('real', 'mean'):  # the source becomes smaller: its old tiles go
        save(nam / f'd800_1_{kind}.png', texture(16, 32))
    assert '2 tiles written, 9 already there' in run(*command)
    assert len(names(out / 'gt')) == len(names(out / 'lq')) == 11


def test_interrupted_run_continues(nam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, write = tmp_path / 'out', tiles.write

    def stop(path: Path, data: bytes) -> None:
        if path.name == 'd800_1_s003.png':
            raise KeyboardInterrupt
        write(path, data)

    command = ['nam', str(nam), '-o', str(out), '--size', '16', '--jobs', '1']
    with monkeypatch.context() as patch:
        patch.setattr(tiles, 'write', stop)
        assert prepare.main(command) == 130
    assert prepare.run(command).startswith('2 images: 9 tiles written, 9 already there')
    assert len(names(out / 'gt')) == len(names(out / 'lq')) == 18


def test_other_options_or_images_are_refused(nam: Path, polyu: Path, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'out'
    for extra in ([], ['--lmdb']):
        command = ('nam', nam, '-o', out, *extra, '--size')
        run(*command, 16)
        message = fails(capsys, *command, 32)
        assert str(out) in message and 'size 16 (now 32)' in message and 'use another -o' in message
        assert 'step 16 (now 8)' in fails(capsys, *command, 16, '--step', 8)
        assert 'max-shift 0.0 (now 0.5)' in fails(capsys, *command, 16, '--max-shift', .5)
    train = ('polyu', polyu, '-o', tmp_path / 'p', '--size', 32, '--subset', 'train')
    run(*train)
    assert 'holds tiles of A_toy' in fails(capsys, *train[:-1], 'val')
    save(tmp_path / 'foreign' / 'gt' / 'x.png', texture(16, 16))
    assert str(tmp_path / 'foreign' / 'gt') in fails(capsys, 'nam', nam, '-o', tmp_path / 'foreign')
    (out / 'manifest.json').write_text('{')
    assert str(out / 'manifest.json') in fails(capsys, 'nam', nam, '-o', out, '--size', 16)


def test_lmdb_equals_folders(nam: Path, tmp_path: Path) -> None:
    from basicsr.data.data_util import paired_paths_from_lmdb
    from basicsr.utils import FileClient, imfrombytes
    out = tmp_path / 'out'
    run('nam', nam, '-o', out, '--size', 16)
    command = ('nam', nam, '-o', out, '--size', 16, '--lmdb')
    assert '18 tiles written' in run(*command)
    folders = [str(out / 'lq.lmdb'), str(out / 'gt.lmdb')]
    pairs = paired_paths_from_lmdb(folders, ['lq', 'gt'])
    assert [f'{pair["lq_path"]}.png' for pair in pairs] == names(out / 'lq')
    client = FileClient('lmdb', db_paths=folders, client_keys=['lq', 'gt'])
    for pair in pairs:
        for kind in ('lq', 'gt'):
            key = pair[f'{kind}_path']
            np.testing.assert_array_equal(imfrombytes(client.get(key, kind)), read(out / kind / f'{key}.png'))
    assert (out / 'gt.lmdb' / 'meta_info.txt').read_text().splitlines()[0] == 'd600_x_2_s001.png (16,16,3) 1'

    before = (out / 'gt.lmdb' / 'data.mdb').stat()
    assert '0 tiles written, 18 already there' in run(*command)
    assert (out / 'gt.lmdb' / 'data.mdb').stat().st_mtime_ns == before.st_mtime_ns
    os.utime(nam / 'd800_1_real.png', (1, 1))
    assert '18 tiles written, 0 already there' in run(*command)
    assert not list(out.glob('*partial*'))


def test_interrupted_lmdb_leaves_no_final_one(nam: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = outputs.GrowingLmdbMaker.put

    def stop(self: outputs.GrowingLmdbMaker, data: bytes, key: str, shape: tuple[int, ...]) -> None:
        if key == 'd800_1':
            raise KeyboardInterrupt
        put(self, data, key, shape)

    out = tmp_path / 'out'
    with monkeypatch.context() as patch:
        patch.setattr(outputs.GrowingLmdbMaker, 'put', stop)
        assert prepare.main(['nam', str(nam), '-o', str(out), '--lmdb', '--jobs', '1']) == 130
    assert names(out) == ['manifest_lmdb.json']
    (out / 'gt.partial.lmdb').mkdir()  # as a kill would leave it
    run('nam', nam, '-o', out, '--lmdb')
    assert names(out) == ['gt.lmdb', 'lq.lmdb', 'manifest_lmdb.json']


def test_missing_and_unpaired_images(nam: Path, polyu: Path, sidd: Path, tmp_path: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    out, empty = tmp_path / 'out', tmp_path / 'empty'
    empty.mkdir()
    for command in ('div2k', 'sidd', 'polyu', 'nam'):
        assert str(tmp_path / 'nowhere') in fails(capsys, command, tmp_path / 'nowhere', '-o', out)
        assert str(empty) in fails(capsys, command, empty, '-o', out)
    (nam / 'd800_1_mean.png').rename(nam / 'd800_9_mean.png')
    assert str(nam / 'd800_1_real.png') in fails(capsys, 'nam', nam, '-o', out)
    (nam / 'd800_1_real.png').unlink()
    assert str(nam / 'd800_9_mean.png') in fails(capsys, 'nam', nam, '-o', out)
    lonely = sidd / 'Data' / '0001_001_S6_00100_N' / 'NOISY_SRGB_010.PNG'
    lonely.with_name('GT_SRGB_010.PNG').unlink()
    assert str(lonely) in fails(capsys, 'sidd', sidd, '-o', out)
    (polyu / 'OriginalImages' / 'A_toy_mean.JPG').unlink()
    assert 'A_toy_Real.JPG' in fails(capsys, 'polyu', polyu, '-o', out)
    for suffix in ('png', 'jpg'):
        save(empty / f'twice.{suffix}', texture(8, 8))
    assert 'twice.png' in fails(capsys, 'div2k', empty, '-o', out)
    assert not out.exists()


@pytest.mark.parametrize('name', ['d800_1_real.png', 'd600.x_2_Mean.JPG'])
@pytest.mark.parametrize('part', [0.6, 0.0])
def test_truncated_images(nam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                          name: str, part: float) -> None:
    data = (nam / name).read_bytes()
    (nam / name).write_bytes(data[:int(len(data) * part)])
    out = tmp_path / 'out'
    assert str(nam / name) in fails(capsys, 'nam', nam, '-o', out)
    (nam / name).write_bytes(data)
    run('nam', nam, '-o', out)
    assert len(names(out / 'gt')) == len(names(out / 'lq')) == 2


def test_pair_of_different_sizes(nam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(nam / 'd800_1_real.png', texture(40, 44))
    message = fails(capsys, 'nam', nam, '-o', tmp_path / 'out')
    assert str(nam / 'd800_1_real.png') in message and '44x40' in message and '48x40' in message
    with pytest.raises(UserError, match='is 44x40, but its clean partner d800_1_mean.png is 48x40'):
        prepare.run(['nam', str(nam), '-o', str(tmp_path / 'jobs'), '--jobs', '4'])


def test_wrong_values(nam: Path, polyu: Path, sidd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'out'
    for options in (['--size', -1], ['--size', 16, '--step', 0], ['--size', 16, '--step', 17], ['--max-shift', -1]):
        assert f'{options[-2]} {options[-1]}' in fails(capsys, 'nam', nam, '-o', out, *options)
    assert prepare.main(['nam', str(nam), '-o', str(out), '--jobs', '0']) == 2
    assert "'1'; it has 001, 002, 010" in fails(capsys, 'sidd', sidd, '-o', out, '--scenes', '001,1')
    assert "'08'" in fails(capsys, 'sidd', sidd, '-o', out, '--exclude-scenes', '08')
    assert 'leave no scene' in fails(capsys, 'sidd', sidd, '-o', out, '--scenes', '001', '--exclude-scenes', '001')
    assert 'nam' in fails(capsys, 'nam', nam, '-o', nam / 'd800_1_real.png')

    split = polyu / 'split.json'
    save(polyu / 'OriginalImages' / 'B_new_Real.JPG', texture(64, 96))
    save(polyu / 'OriginalImages' / 'B_new_mean.JPG', texture(64, 96))
    assert 'B_new_Real.JPG' in fails(capsys, 'polyu', polyu, '-o', out, '--subset', 'train')
    split.write_text('{"train": ["A_toy"], "val": ["A_toy"]}')
    assert 'scene A_toy in both' in fails(capsys, 'polyu', polyu, '-o', out)
    for text in ('{"train": []}', '[]', 'no json'):
        split.write_text(text)
        assert str(split) in fails(capsys, 'polyu', polyu, '-o', out)
    split.unlink()
    assert str(split) in fails(capsys, 'polyu', polyu, '-o', out, '--subset', 'val')
    assert not out.exists()


@pytest.mark.skipif(os.name == 'nt', reason='sends SIGINT to a process group')
def test_ctrl_c_in_a_real_run(tmp_path: Path) -> None:
    save(tmp_path / 'in' / '000.png', texture(400, 400))
    for i in range(1, 60):
        shutil.copy(tmp_path / 'in' / '000.png', tmp_path / 'in' / f'{i:03d}.png')
    out = tmp_path / 'out'
    command = ['div2k', str(tmp_path / 'in'), '-o', str(out), '--size', '80', '--step', '40']
    process = subprocess.Popen([sys.executable, '-m', 'maxl_sr.prepare', *command, '--jobs', '2'], text=True,
                               stderr=subprocess.PIPE, start_new_session=True, cwd=Path(__file__).parents[1],
                               # what a shell starts in the background inherits that the signal is ignored
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end and not list(out.glob('gt/005*.png')):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert 'Traceback' not in err
    done = json.loads((out / 'manifest.json').read_text())['images']
    assert 0 < len(done) < 60
    assert f'{(60 - len(done)) * 9 * 9} tiles written' in prepare.run([*command, '--jobs', '1'])


def test_real_polyu_crops(tmp_path: Path) -> None:
    data = Path(os.environ.get('MAXL_SR_DATA') or Path(__file__).resolve().parents[2] / 'shared' / 'data') / 'polyu'
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


@pytest.mark.parametrize('lmdb', [False, True])
def test_super_resolution_pairs_stay_whole(lmdb, tmp_path):
    for number, (height, width) in enumerate([(24, 32), (25, 33)]):
        image = texture(height, width, number)
        save(tmp_path / f'Set/img_{number}_SRF_2_HR.png', image)
        save(tmp_path / f'Set/img_{number}_SRF_2_LR.png', image[::2, ::2][:height // 2, :width // 2])
    out = tmp_path / 'out'
    summary = run('sr', tmp_path / 'Set', '-o', out, *(['--lmdb'] if lmdb else []))
    assert summary.startswith('2 images: 2 tiles written')
    if lmdb:
        assert 'img_1_SRF_2.png (24,32,3)' in (out / 'gt.lmdb/meta_info.txt').read_text()
        assert 'img_1_SRF_2.png (12,16,3)' in (out / 'lq.lmdb/meta_info.txt').read_text()
    else:
        assert names(out / 'lq') == names(out / 'gt') == ['img_0_SRF_2.png', 'img_1_SRF_2.png']
        assert read(out / 'lq/img_1_SRF_2.png').shape == (12, 16, 3)
        assert np.array_equal(read(out / 'gt/img_1_SRF_2.png'), texture(25, 33, 1)[:24, :32])


def test_super_resolution_pairs_of_several_scales_are_refused(tmp_path, capsys):
    for name, scale in (('a', 2), ('b', 4)):
        save(tmp_path / f'Set/{name}_HR.png', texture(24, 32))
        save(tmp_path / f'Set/{name}_LR.png', texture(24 // scale, 32 // scale))
    assert 'holds pairs of scale 2 (a_LR.png) and of scale 4 (b_LR.png)' in fails(capsys, 'sr', tmp_path / 'Set', '-o',
                                                                               tmp_path / 'out')
    for name in 'ab':
        save(tmp_path / f'Set/{name}_LR.png', texture(24, 32))
    assert 'b_LR.png is not smaller than its clean partner.' in fails(capsys, 'sr', tmp_path / 'Set', '-o',
                                                                      tmp_path / 'out')


def test_super_resolution_pair_of_no_whole_scale_is_refused(tmp_path, capsys):
    save(tmp_path / 'Set/a_HR.png', texture(24, 32))
    save(tmp_path / 'Set/a_LR.png', texture(12, 15))
    assert 'a_LR.png is 15x12, but its clean partner a_HR.png is 32x24.' in fails(capsys, 'sr', tmp_path / 'Set', '-o',
                                                                                tmp_path / 'out')


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


@pytest.mark.parametrize('official', [True, False])
def test_gopro_is_split_by_sequence(official, tmp_path, capsys):
    gopro(tmp_path / 'GoPro', official)
    assert run('gopro', tmp_path / 'GoPro', '-o', tmp_path / 'all').startswith('4 images: 4 tiles')
    run('gopro', tmp_path / 'GoPro', '-o', tmp_path / 'train', '--exclude-scenes', 'GOPR0477_11_00')
    train = names(tmp_path / 'train/lq')
    assert len(train) == 2 and all(name.startswith('GOPR0374') for name in train)
    assert 'has no scene \'GOPR1\'; it has GOPR0374_11_00, GOPR0477_11_00.' in fails(
        capsys, 'gopro', tmp_path / 'GoPro', '-o', tmp_path / 'other', '--scenes', 'GOPR1')


def test_gopro_train_and_test_are_not_mixed(tmp_path, capsys):
    gopro(tmp_path / 'GoPro', True)
    shutil.copytree(tmp_path / 'GoPro/train', tmp_path / 'GoPro/test')
    assert 'holds the sequences of test and train' in fails(capsys, 'gopro', tmp_path / 'GoPro', '-o', tmp_path / 'out')


def test_gopro_frame_without_partner_is_refused(tmp_path, capsys):
    gopro(tmp_path / 'GoPro', True)
    (tmp_path / 'GoPro/train/GOPR0374_11_00/sharp/000001.png').unlink()
    assert '000001.png has no clean partner in' in fails(capsys, 'gopro', tmp_path / 'GoPro', '-o', tmp_path / 'out')

"""maxl-sr compare: tables of tests and of folders of images."""

import sys
from pathlib import Path

import numpy as np
import pytest
from basicsr.metrics import calculate_psnr, calculate_ssim
from PIL import Image

from maxl_sr import compare


@pytest.fixture
def call(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['maxl-sr compare', *arguments])
        code = compare.main()
        return code, capsys.readouterr()

    return run


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    clean = [rng.integers(0, 255, (24, 30, 3), np.uint8) for _ in range(2)]
    for folder, error in (('gt', 0), ('noisy', 40), ('out', 10)):
        (tmp_path / folder / 'sub').mkdir(parents=True)
        for name, image in zip(('a', 'sub/b'), clean):
            noisy = (image + rng.normal(0, error, image.shape)).clip(0, 255).round().astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / folder / (name + ('.tif' if folder == 'out' else '.png')))
    return tmp_path


@pytest.mark.parametrize('arguments, options', [((), {}), (('--crop-border', '2', '--y-channel'),
                                                           {'crop_border': 2, 'test_y_channel': True})])
def test_folders_of_images(call, folders, arguments, options):
    code, told = call('--gt', 'gt', 'noisy', 'out', *arguments)
    options = {'crop_border': 0, 'test_y_channel': False, **options}

    def figures(folder, metric):
        pairs = zip(sorted(Path(folder).rglob('*.*')), sorted(Path('gt').rglob('*.*')))
        return np.array([metric(*(np.asarray(Image.open(path))[..., ::-1] for path in pair), **options)
                         for pair in pairs])

    noisy, out = figures('noisy', calculate_psnr), figures('out', calculate_psnr)
    gain = out - noisy
    assert code == 0 and told.out.splitlines()[2:] == [
        f"| noisy (2) | {noisy.mean():.2f} / {figures('noisy', calculate_ssim).mean():.4f} |  |",
        f"| out (2) | {out.mean():.2f} / {figures('out', calculate_ssim).mean():.4f} | "
        f'{gain.mean():+.3f} ({gain.min():+.3f} … {gain.max():+.3f}) |']


def test_equal_images_have_no_gain(call, folders):
    code, told = call('--gt', 'gt', 'gt', 'gt')
    assert code == 0 and told.out.splitlines()[-1] == '| gt (2) | inf / 1.0000 | +0.000 (+0.000 … +0.000) |'


def test_results_of_tests(call, tmp_path):
    (tmp_path / 'own').mkdir()
    (tmp_path / 'own/Kodak.csv').write_text(
        'image,psnr_noisy,psnr_before,psnr_step1,psnr_step2,seconds\na,20,30,31,32,1\nb,22,32,32,31,2\n')
    (tmp_path / 'plain').mkdir()
    (tmp_path / 'plain/test_own_20260101.log').write_text(
        'INFO: Validation Kodak\n\t # psnr: 30.1234\tBest\n\t # ssim: 0.9\tBest\n\nINFO: end\n')
    code, told = call('own', 'plain')
    assert code == 0 and told.out.splitlines()[2:] == [
        '| Kodak (2) | own | 21.00 | 31.00 | 31.50 | +0.500 (-1.000 … +2.000) | 1.50 |',
        '| Kodak | plain | | 30.12 / 0.9000 | | | |']


@pytest.mark.parametrize('arguments, message', [
    (('lost',), 'lost holds no results of a test'),
    (('empty',), 'empty holds no results of a test'),
    (('strange',), 'strange/x.csv is no table of a test'),
    (('noisy', '--crop-border', '2'), '--crop-border and --y-channel need --gt'),
    (('noisy', '--gt', 'gt', '--crop-border', '-1'), '--crop-border must be at least 0, not -1'),
    (('noisy', '--gt', 'gt', '--crop-border', '9'), 'too small for these metrics'),
    (('noisy', '--gt', 'lost'), 'there is no folder lost'),
    (('noisy', '--gt', 'empty'), 'empty holds no image'),
    (('twice', '--gt', 'gt'), 'have one name'),
    (('noisy/sub', '--gt', 'gt'), 'noisy/sub holds no image called a, as gt/a.png'),
    (('small', '--gt', 'gt'), 'is of another size than gt/a.png (30×24)'),
    (('bad', '--gt', 'gt'), 'cannot read the image bad/a.png'),
])
def test_mistakes_are_named(call, folders, arguments, message):
    for folder in ('empty', 'strange', 'twice', 'small', 'bad'):
        Path(folder).mkdir()
    Path('strange/x.csv').write_text('a,b\n1,2\n')
    Path('bad/a.png').write_text('no image')
    for path in ('twice/a.png', 'twice/a.jpg', 'small/a.png'):
        Image.new('RGB', (20, 20)).save(path)
    code, told = call(*arguments)
    assert code == 2 and message in told.err and told.out == ''

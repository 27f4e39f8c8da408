"""maxl-sr compare: tables of tests and of folders of images."""

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
        code = compare.main(arguments)
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


def test_light_is_matched_to_the_first_folder(call, folders):
    code, told = call('--gt', 'gt', 'noisy', 'out', '--matched')
    values = []
    for name in ('a', 'sub/b'):
        noisy, truth, out = (np.asarray(Image.open(f'{folder}/{name}.{ending}')).astype(float)
                             for folder, ending in (('noisy', 'png'), ('gt', 'png'), ('out', 'tif')))
        values.append(calculate_psnr(out, truth + noisy.mean((0, 1)) - truth.mean((0, 1)), 0))
    assert code == 0 and f'| {np.mean(values):.2f} / ' in told.out.splitlines()[3]
    assert told.out.splitlines()[0].split('|')[3] == ' light matched '
    assert {line.count('|') for line in told.out.splitlines()} == {5}


def test_matched_figures_of_tests_have_a_row(call, tmp_path):
    (tmp_path / 'own').mkdir()
    (tmp_path / 'own/CC15.csv').write_text('image,psnr_noisy,psnr_matched_noisy,psnr_before,psnr_matched_before,'
                                           'psnr_step1,psnr_matched_step1,seconds\na,20,21,30,31,32,34,1\n')
    (tmp_path / 'plain').mkdir()
    (tmp_path / 'plain/test_own_20260101.log').write_text(
        'INFO: Validation CC15\n\t # psnr: 30.12\tBest\n\t # psnr_matched: 31.5\tBest\n\nINFO: end\n')
    code, told = call('own', 'plain')
    assert code == 0 and told.out.splitlines()[2:] == [
        '| CC15 (1) | own | 20.00 | 30.00 | 32.00 | +2.000 (+2.000 … +2.000) | 1.00 |',
        '| CC15 (1), light matched | own | 21.00 | 31.00 | 34.00 | +3.000 (+3.000 … +3.000) | 1.00 |',
        '| CC15 | plain | | 30.12 | | | |', '| CC15, light matched | plain | | 31.50 | | | |']


def test_where_the_guard_took_no_step_the_images_are_as_before(call, tmp_path):
    (tmp_path / 'own').mkdir()
    (tmp_path / 'own/CC15.csv').write_text('image,psnr_noisy,psnr_before,psnr_after,guard_step,seconds\n'
                                           'a,20,30,30,0,1\nb,22,32,32,0,3\n')
    code, told = call('own')
    assert code == 0 and told.out.splitlines()[2:] == [
        '| CC15 (2) | own | 21.00 | 31.00 | 31.00 | +0.000 (+0.000 … +0.000) | 2.00 |']


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
    (('lost',), 'there is no folder lost'),
    (('empty',), 'empty holds no results of a test'),
    (('strange',), 'strange/x.csv is no table of a test'),
    (('noisy', '--crop-border', '2'), '--crop-border, --y-channel and --matched need --gt'),
    (('noisy', '--gt', 'gt', '--crop-border', '-1'), '--crop-border must be at least 0, not -1'),
    (('noisy', '--gt', 'gt', '--crop-border', '9'), 'too small for these metrics'),
    (('noisy', '--gt', 'lost'), 'there is no folder lost'),
    (('noisy', '--gt', 'empty'), 'empty holds no image'),
    (('twice', '--gt', 'gt'), 'have one name'),
    (('noisy/sub', '--gt', 'gt'), 'noisy/sub holds no image called a, as gt/a.png'),
    (('small', '--gt', 'gt'), 'is of another size than gt/a.png (30×24)'),
    (('bad', '--gt', 'gt'), 'bad/a.png cannot be read as an image'),
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


CSVS = {'empty': b'', 'header': b'image,psnr_before,psnr_step1,seconds\n',
        'latin': b'psnr_before,psnr_step1\ncaf\xe9,2\n',
        'short': b'image,psnr_before,psnr_step1,seconds\na,1\n', 'words': b'psnr_before,psnr_step1,seconds\nx,y,z\n',
        'cut': b'image,psnr_before,psnr_step1,seconds\na,1,2,3\nb,1,2', 'binary': bytes(range(256)),
        'utf16': 'psnr_before,psnr_step1\n1,2\n'.encode('utf-16'), 'quote': b'image,"psnr_before\n1,2',
        'steps': b'psnr_stepx\n1\n'}


@pytest.mark.parametrize('kind', CSVS)
def test_tables_that_are_none_are_named(call, tmp_path, kind):
    (tmp_path / 'own').mkdir()
    (tmp_path / 'own/x.csv').write_bytes(CSVS[kind])
    code, told = call('own')
    assert code == 2 and told.err.startswith('error: own/x.csv ') and told.err.count('\n') == 1 and told.out == ''
    assert ('is not UTF-8' in told.err) == (kind in ('latin', 'binary', 'utf16'))
    assert ('too short' in told.err) == (kind in ('short', 'cut'))


LOG = 'INFO: Number of test images in Kodak: 24\nINFO: Number of test images in CC15: 15\n'
FIGURES = 'INFO: Validation Kodak\n\t # psnr: 30.1234\tBest\n\nINFO: end\n'


@pytest.mark.parametrize('log, lost', [(LOG + FIGURES, ['CC15']), (LOG, ['Kodak', 'CC15']), ('', ['?']),
                                       (LOG + 'INFO: Validation Ko', ['Kodak', 'CC15']),
                                       ('caf\udce9\n' + LOG + FIGURES, ['CC15'])])
def test_a_test_that_did_not_come_to_its_end_has_a_row(call, tmp_path, log, lost):
    for name in ('done', 'killed'):
        (tmp_path / name).mkdir()
    (tmp_path / 'done/Kodak.csv').write_text('image,psnr_before,psnr_step1,seconds\na,20,30,1\n')
    (tmp_path / 'killed/test_own_20260101.log').write_text(log, errors='surrogateescape')
    code, told = call('done', 'killed')
    assert code == 1 and '| Kodak (1) | done | ' in told.out
    assert [f'| {name} | killed | | unfinished | | | |' in told.out for name in lost] == [True] * len(lost)
    assert told.err.count('error: killed holds no result') == told.out.count('unfinished') == len(lost)


def test_a_data_set_without_its_table_has_a_row(call, tmp_path):
    (tmp_path / 'own').mkdir()
    (tmp_path / 'own/Kodak.csv').write_text('image,psnr_before,psnr_step1,seconds\na,20,30,1\n')
    (tmp_path / 'own/test_own_20260101.log').write_text(LOG)
    code, told = call('own')
    assert code == 1 and told.err == 'error: own holds no result of CC15: the test did not come to its end\n'
    assert '| Kodak (1) | own |' in told.out and '| CC15 | own | | unfinished | | | |' in told.out


def test_avif_is_compared(call, folders):
    for path in list((folders / 'out').rglob('*.tif')):
        Image.open(path).save(path.with_suffix('.avif'), quality=100)
        path.unlink()
    code, told = call('--gt', 'gt', 'out')
    assert code == 0 and '| out (2) | ' in told.out

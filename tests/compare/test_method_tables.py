"""Methods on the same images: figures, choices among settings, the command."""

import json
import sys
import warnings
from pickle import UnpicklingError
from types import SimpleNamespace
from urllib.error import URLError

import cv2
import numpy as np
import pytest
from basicsr.metrics import calculate_psnr, calculate_ssim

from maxl_sr.commands.doors import compare as main
from maxl_sr.compare.method_tables import BEST, as_json, measure, pairs_of_folders, pairs_of_options, table_of
from maxl_sr.errors import UserError
from maxl_sr.yardsticks.method import Cost
from tests.helpers import photograph


class Shift:
    """Adds a constant, RGB; the best one differs from image to image."""

    name, chosen, settings = 'shift', True, (2.0, 4.0, 7.0)

    def results(self, image):
        for setting in self.settings:
            yield setting, image / 255 + setting / 255

    def cost(self):
        return Cost(1_000, 2e9)


class Twice:
    """Has two results, each with a row of its own."""

    name, chosen, settings = 'twice', False, ('first', 'second')

    def results(self, image):
        yield 'first', image / 255
        yield 'second', np.zeros(image.shape)

    def cost(self):
        return Cost()


@pytest.fixture
def folders(tmp_path):
    for number, shift in enumerate((1, 5, 5)):
        clean = 10 + (photograph(number, 24, 30) * 0.9).astype(np.uint8)
        for kind, image in (('gt', clean), ('lq', clean - np.uint8(shift))):
            (tmp_path / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / f'{number}.png'), image)
    return tmp_path


@pytest.mark.parametrize('error', [URLError('no network'), RuntimeError('invalid hash value'), OSError('no space'),
                                   EOFError(), UnpicklingError('invalid load key\nand more')])
def test_without_the_weights_of_alexnet_lpips_is_left_out(folders, monkeypatch, capsys, error):
    def failing(**how):
        print('Downloading …')
        warnings.warn('deprecated', stacklevel=1)
        raise error

    monkeypatch.setitem(sys.modules, 'lpips', SimpleNamespace(LPIPS=failing))
    (rows, ) = measure([Shift()], pairs_of_folders(folders / 'lq', folders / 'gt'), told=False).values()
    assert 'lpips' not in rows[0].figures
    told = capsys.readouterr()
    assert not told.out and told.err.splitlines() == [
        'Downloading …', f'note: LPIPS is left out, since the weights of AlexNet cannot be fetched or read: '
        f"{str(error).splitlines()[0] if str(error) else 'EOFError'}"]


def test_figures_and_choices(folders):
    data = pairs_of_folders(folders / 'lq', folders / 'gt')
    (rows, ) = measure([Shift(), Twice()], data, told=False).values()
    assert [(row.name, row.setting) for row in rows] == [('noisy', ''), ('shift', '4'), ('shift', BEST),
                                                         ('twice', 'first'), ('twice', 'second')]
    noisy, fixed, best, first, second = rows
    pairs = [read() for read in data['lq']]
    for number, (lq, gt) in enumerate(pairs):
        assert noisy.figures['psnr'][number] == calculate_psnr(lq, gt, crop_border=0)
        assert noisy.figures['ssim'][number] == calculate_ssim(lq, gt, crop_border=0)
    assert first.figures == noisy.figures and second.mean('psnr') < 20
    off_by_one = pytest.approx(20 * np.log10(255))
    assert best.figures['psnr'] == [off_by_one] * 3 and fixed.figures['psnr'][1:] == [off_by_one] * 2
    assert fixed.figures['psnr'][0] == pytest.approx(20 * np.log10(255 / 3))
    assert noisy.figures['psnr_matched'] == [np.inf] * 3  # a shift is light
    assert fixed.cost.parameters == 1_000 and len(fixed.seconds) == 3 and not best.seconds and not noisy.seconds


def test_the_table_and_the_json_have_the_same_figures(folders):
    tables = measure([Twice()], pairs_of_folders(folders / 'lq', folders / 'gt'), told=False)
    line = table_of(tables).splitlines()[2]
    kept = as_json(tables)['lq'][0]['figures']
    assert line.startswith(f'| lq (3) | noisy | {np.mean(kept["psnr"]):.2f} / {np.mean(kept["ssim"]):.4f} |')


def test_an_option_file_brings_its_test_sets_in_8_bits(folders):
    file = folders / 'test.yml'
    file.write_text('name: x\nmodel_type: SRModel\nscale: 1\nnum_gpu: 0\npath: {}\ndatasets:\n  test_1: {name: white, '
                    f'type: SyntheticNoiseDataset, dataroot_gt: {folders / "gt"}, io_backend: {{type: disk}}, '
                    'noise: {gaussian: [10, 10]}}\n')
    pairs = pairs_of_options(str(file))['white']
    lq, gt = pairs[1]()
    assert lq.dtype == gt.dtype == np.uint8 and np.array_equal(gt, cv2.imread(str(folders / 'gt/1.png')))
    assert np.array_equal(lq, pairs[1]()[0]) and not np.array_equal(lq, gt)


def test_images_of_two_sizes_are_refused_before_a_method_runs(folders, monkeypatch):
    cv2.imwrite(str(folders / 'lq/1.png'), photograph(0, 20, 30))
    monkeypatch.setattr(Shift, 'results', lambda method, image: pytest.fail('a method ran'))
    with pytest.raises(UserError, match='30×20 and 30×24'):
        measure([Shift()], pairs_of_folders(folders / 'lq', folders / 'gt'), told=False)


def test_the_command(folders, capsys):
    lq, gt, file = str(folders / 'lq'), str(folders / 'gt'), folders / 'found.json'
    assert main([lq, '--gt', gt, '--methods', 'nlm-opencv:3,5', '--json', str(file)]) == 0
    table = capsys.readouterr().out
    assert '| lq (3) | noisy |' in table and f'non-local means, OpenCV, {BEST}' in table
    assert [row['method'] for row in json.loads(file.read_text())['lq']][0] == 'noisy'


@pytest.mark.parametrize('arguments, told', [
    (['LQ', '--methods', 'nlm-opencv'], '--methods needs one FOLDER of noisy images and --gt, or --data'),
    (['LQ', '--gt', 'GT', '--methods', 'nothing'], 'nothing'), (['LQ', '--json', 'x.json'], '--data and --json need'),
    (['LQ', '--gt', 'GT', '--methods', 'nlm-opencv', '--matched'], 'are for folders, not for --methods'),
    (['LQ', '--gt', 'GT', '--data', 'x.yml', '--methods', 'nlm-opencv'], 'FOLDER and --gt have no use'),
    (['LQ', '--gt', 'GT', '--methods', 'nlm-opencv:3', 'nlm-opencv:5'], 'non-local means, OpenCV is there twice'),
    (['LQ', '--gt', 'GT', '--methods', 'nlm-opencv', '--json', 'GT'], 'is a folder; name a file'),
    ([], 'name at least one FOLDER')])
def test_mistakes(arguments, told, folders, capsys):
    paths = {'LQ': str(folders / 'lq'), 'GT': str(folders / 'gt')}
    assert main([paths.get(argument, argument) for argument in arguments]) == 2
    assert told in capsys.readouterr().err

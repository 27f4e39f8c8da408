"""The report of a run over files."""

import csv
import html.parser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image

from maxl_sr import Restorer
from maxl_sr.errors import UserError
from maxl_sr.report import Report
from maxl_sr.restore_files import restore_files
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.work_list import work_list
from tests.helpers import tiny_mask_net, tiny_net


def make(scale=1, mask=True):
    torch.manual_seed(0)
    net = tiny_net(scale=scale)
    options = Adapt(steps=2, lr=1e-3, aux_opt={'type': 'MaskedReconstructionLoss'})
    return Restorer(net, options, 'cpu', mask_net=tiny_mask_net() if mask else None)


class Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ('src', 'href')]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng, exif = np.random.default_rng(0), Image.Exif()
    exif[0x0112] = 6
    Path('in').mkdir()
    Image.fromarray(rng.integers(0, 255, (600, 520, 3), np.uint8)).save('in/<a> #1%.png')
    Image.fromarray(rng.integers(0, 255, (40, 60), np.uint8)).save('in/grey.jpg', exif=exif)
    return tmp_path


def run(restorer, inputs='in', output='out'):
    report = Path('report')
    return restore_files(restorer, work_list([Path(inputs)], Path(output), report), {}, report=Report(report))


def rows():
    with open('report/report.csv', encoding='utf-8') as file:
        return {row['image']: row for row in csv.DictReader(file)}


def test_figures_and_pictures(folder):
    restorer = make()
    assert run(restorer) == 0
    table = rows()
    assert list(table) == ['in/<a> #1%.png', 'in/grey.jpg']
    pixels = np.asarray(Image.open('in/<a> #1%.png'))
    expected, row = restorer.run(pixels), table['in/<a> #1%.png']
    assert [row[key] for key in ('width', 'height', 'steps', 'taken')] == ['520', '600', '2', '2']
    assert [float(value) for value in row['objective'].split()] == pytest.approx(expected.losses, rel=1e-5)
    mask = restorer.mask(pixels)
    assert float(row['mask_mean']) == pytest.approx(mask.mean(), rel=1e-5)
    at = f"report/pictures/{row['pictures']}"
    part = (slice(44, 556), slice(4, 516))
    np.testing.assert_array_equal(np.asarray(Image.open(f'{at}_before.png')), pixels[part])
    np.testing.assert_array_equal(np.asarray(Image.open(f'{at}_after.png')), expected.image[part])
    np.testing.assert_allclose(np.asarray(Image.open(f'{at}_mask.png')), 255 * mask[part], rtol=0, atol=.51)
    for kind in ('before', 'after', 'mask'):  # upright
        assert Image.open(f"report/pictures/{table['in/grey.jpg']['pictures']}_{kind}.png").size == (40, 60)
    page = Links()
    page.feed(Path('report/index.html').read_text(encoding='utf-8'))
    assert len(page.found) == 1 + 2 * 4 and all(Path('report', unquote(link)).is_file() for link in page.found)
    assert '&lt;a&gt; #1%.png' in Path('report/index.html').read_text(encoding='utf-8')
    assert not list(Path('report').glob('.*'))


def test_without_a_mask_network_and_enlarged(folder):
    assert run(make(2, mask=False)) == 0
    row = rows()['in/<a> #1%.png']
    assert row['mask_mean'] == '' and not list(Path('report/pictures').glob('*_mask.png'))
    assert Image.open(f"report/pictures/{row['pictures']}_after.png").size == (1024, 1024)


def test_rows_of_earlier_runs_stay_and_none_is_there_twice(folder):
    assert run(make(), 'in/grey.jpg') == 0
    first = rows()
    assert run(make()) == 0  # grey.jpg is done already
    assert rows()['in/grey.jpg'] == first['in/grey.jpg'] and len(rows()) == 2
    Path('out/grey.jpg').unlink()
    assert run(make()) == 0
    assert len(rows()) == 2


def test_pictures_of_a_report_are_no_inputs(folder):
    assert run(make(), '.', 'out') == 0
    assert run(make(), '.', 'out') == 0
    assert sorted(path.name for path in Path('out').rglob('*') if path.is_file()) == ['<a> #1%.png', 'grey.jpg']


def test_a_strange_table_is_refused(folder):
    Path('report').mkdir()
    for text in ('a,b\n1,2\n', 'image,restored,width,height,steps,taken,seconds,mask_mean,objective,pictures\na,b\n'):
        Path('report/report.csv').write_text(text)
        with pytest.raises(UserError, match='report.csv is no report of maxl-sr'):
            Report(Path('report'))
        assert Path('report/report.csv').read_text() == text


def test_a_report_that_cannot_be_written_or_read_is_named(folder, capsys):
    Path('report').mkdir()
    Path('report/pictures').touch()
    assert run(make(), 'in/grey.jpg') == 1
    assert 'error: in/grey.jpg: cannot write the report report' in capsys.readouterr().err
    assert not Path('out/grey.jpg').exists()
    Path('report/report.csv').mkdir()
    with pytest.raises(UserError, match='report/report.csv is a folder, not a file'):
        Report(Path('report'))

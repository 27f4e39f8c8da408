"""The figure of gate and guard, and the mistakes of the script that makes it."""

import json

import pytest

from maxl_sr.losses.left_noise_loss import LeftNoiseLoss
from scripts import guard_roc
from tests.helpers import ROOT

ROWS = ROOT / 'docs/evidence/guard.json'


def row(gain, decrease=0.5, **seen):
    gate = LeftNoiseLoss()
    known = {'share': gate.least_left + 0.1, 'spread': gate.most_spread, 'rise': gate.most_rise}
    return {'data': 'set', 'image': 0, 'decrease': decrease, 'before': 30.0, 'gain': gain, **known, **seen}


def test_who_is_adapted_to():
    gate = LeftNoiseLoss()
    rows = [row(1.0), row(2.0, decrease=0.2), row(-3.0, share=gate.least_left),
            row(-4.0, spread=gate.most_spread + 0.1), row(-5.0, rise=gate.most_rise + 0.1)]
    assert guard_roc.accepted(rows, 0.3, gated=True) == [1.0]
    assert guard_roc.accepted(rows, 0.1, gated=True) == [1.0, 2.0]
    assert guard_roc.accepted(rows, 0.3, gated=False) == [1.0, -3.0, -4.0, -5.0]


def test_what_the_docs_say_of_the_gate():
    """With the gate no image loses at any margin; without it some lose up to 9 dB."""
    rows = guard_roc.read_rows(ROWS)
    assert min(guard_roc.accepted(rows, 0.3, gated=True)) > guard_roc.LOSS
    assert -10 < min(guard_roc.accepted(rows, 0.0, gated=False)) < -9


def test_the_figure_is_made_of_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr('sys.argv', ['guard_roc.py', '--json', str(ROWS), '--figure', str(tmp_path / 'guard.png')])
    assert guard_roc.main() == 0
    assert (tmp_path / 'guard.png').stat().st_size > 20_000


@pytest.mark.parametrize('arguments, told', [
    (('--json', 'none.json', '--figure', 'x.png'), 'there is no file none.json'),
    (('--json', 'text.json', '--figure', 'x.png'), 'text.json holds no rows'),
    (('--json', 'list.json', '--figure', 'x.png'), 'list.json holds no rows'),
    (('--json', 'x.json'), '-opt is missing'),
    (('--json', 'x.json', '-opt', 'options/denoise/val_guard.yml', '--most', '0'), '--most must be at least 1, not 0'),
    (('--json', 'x.json', '-opt', 'none.yml'), 'none.yml')])
def test_mistakes_are_one_sentence(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text.json').write_text('text')
    (tmp_path / 'list.json').write_text(json.dumps([{'gain': 1}]))
    monkeypatch.setattr('sys.argv', ['guard_roc.py', *arguments])
    assert guard_roc.main() == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and told in error and error.count('\n') == 1
    assert not list(tmp_path.glob('x.*'))

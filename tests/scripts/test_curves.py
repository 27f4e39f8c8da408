"""The curves of the shipped weights, from the tables beside them."""

import sys

import pytest

from maxl_sr.errors import UserError
from scripts import curves
from tests.helpers import ROOT

TABLE = """- By iteration:

  | iteration | 1,000 | 2,000 |
  |---|---|---|
  | tiles | 40.5 | 41 |

- Else.
"""


def test_a_table_by_hand():
    assert curves.curves(TABLE, 'x.md') == {'tiles': [(1000, 40.5), (2000, 41.0)]}
    with pytest.raises(UserError, match='x.md has no table'):
        curves.curves('text', 'x.md')


RULE, ROW = '  |---|---|---|\n', '  | tiles | 40.5 | 41 |\n'


@pytest.mark.parametrize('old, new', [
    ('41', 'about 41'), ('41', ''), ('| 41 |', '|'), ('41', '−0.5'), ('2,000', 'end'), (RULE, ''), (RULE, ROW),
    (ROW, ''), (ROW, 2 * ROW)])
def test_mistakes_of_a_table_are_told(old, new):
    with pytest.raises(UserError, match='x.md: the table of iterations'):
        curves.curves(TABLE.replace(old, new), 'x.md')


@pytest.mark.parametrize('name', ['x', 'x.txt', 'folder.png'])
def test_a_picture_that_cannot_be_written(name, tmp_path, monkeypatch, capsys):
    (tmp_path / 'folder.png').mkdir()
    (tmp_path / 'x.md').write_text(TABLE)
    monkeypatch.setattr(sys, 'argv', ['curves.py', str(tmp_path / 'x.md'), '-o', str(tmp_path / name)])
    assert curves.main() == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and name in err


@pytest.mark.parametrize('name', ['fast', 'best'])
def test_the_text_of_the_weights_has_a_table(name):
    path = ROOT / f'maxl_sr/weights/{name}.md'
    found = curves.curves(path.read_text(encoding='utf-8'), str(path))
    assert len(found) >= 3 and all(len(points) >= 3 for points in found.values())


def test_it_is_drawn_or_the_mistake_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / 'x.md').write_text(TABLE)
    monkeypatch.setattr(sys, 'argv', ['curves.py', str(tmp_path / 'x.md'), '-o', str(tmp_path / 'out/x.png')])
    assert curves.main() == 0 and (tmp_path / 'out/x.png').exists()
    monkeypatch.setattr(sys, 'argv', ['curves.py', str(tmp_path / 'y.md'), '-o', str(tmp_path / 'y.png')])
    assert curves.main() == 2 and not (tmp_path / 'y.png').exists()
    assert capsys.readouterr().err.count('\n') == 1

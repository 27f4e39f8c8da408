"""The walks through the code that CONTRIBUTING.md writes down, as the profiler sees them."""

import re
import sys
import threading
from contextlib import contextmanager
from typing import Any

import cv2

from maxl_sr.commands import main
from tests.helpers import ROOT, photograph, train_options

TEXT = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')
PHOTOGRAPH, LQ = [re.findall(r'^\d\. `([\w/.]+)`: `([\w.]+)`', walk, re.MULTILINE)
                  for walk in re.split(r'\n\n(?=1\. )', TEXT)[1:]]


@contextmanager
def calls():
    """A list that gets (file, function) of the calls of the package's functions, of all threads, in order."""
    found: list[tuple[str, str]] = []

    def note(frame: Any, event: str, argument: object) -> None:
        code = frame.f_code
        if event == 'call' and code.co_filename.startswith(f'{ROOT}/maxl_sr/'):
            found.append((code.co_filename.removeprefix(f'{ROOT}/'), getattr(code, 'co_qualname', code.co_name)))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def follows(walk, found):
    """Whether the calls of a walk are among the calls found, in this order."""
    rest = iter(found)
    short = sys.version_info < (3, 11)  # which does not know the class
    return [(file, name.rpartition('.')[2] if short else name) in rest for file, name in walk]


def test_no_file_twice():
    for walk in (PHOTOGRAPH, LQ):
        files = [file for file, _ in walk]
        assert 4 < len(files) <= 8 and len(set(files)) == len(files)


def test_a_photograph(tmp_path):
    cv2.imwrite(str(tmp_path / 'in.png'), photograph(0, 24, 32))
    with calls() as found:
        assert main(['denoise', str(tmp_path / 'in.png'), '-o', str(tmp_path / 'out'), '--preset', 'paper',
                     '--device', 'cpu']) == 0
    assert follows(PHOTOGRAPH, found) == [True] * 8


def test_lq(pairs, run):
    opt = train_options('MetaTransferModel', pairs)
    opt['train']['total_iter'] = 1
    with calls() as found:
        assert run('train', opt) == 0
    assert follows(LQ, found) == [True] * 6
    assert follows(LQ[::-1], found) != [True] * 6

"""Fixtures: the real photographs where they are at hand, tiny photographs and option files made on the fly."""

import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import maxl_sr  # noqa: F401  isort: skip
import basicsr.utils.logger as basicsr_logger
import cv2

from maxl_sr.restore import precision
from tests.helpers import CHROMIUM, DATA, photograph, train_options

torch.set_num_threads(1)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in what it starts in the background


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs what is not there."""
    marks = {mark.name for mark in item.iter_markers()}
    if 'gpu' in marks and not torch.cuda.is_available():
        pytest.skip('there is no GPU')
    if 'browser' in marks and CHROMIUM is None:
        pytest.skip('there is no Chromium')
    if 'real_data' in marks and not DATA.is_dir():
        pytest.skip(f'there are no real photographs in {DATA} (set MAXL_SR_DATA)')


@pytest.fixture(autouse=True)
def no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """No trial of lower precisions: it takes a second for every network, and what is faster depends on the machine."""
    monkeypatch.setattr(precision, '_candidates', lambda device: [])


@pytest.fixture
def make_pairs(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes `count` noisy / clean PNG pairs to ``<tmp>/<name>/{lq,gt}`` and returns that folder."""

    def make(name: str = 'pairs', count: int = 4, height: int = 32, width: int = 40) -> Path:
        root = tmp_path / name
        for kind in ('gt', 'lq'):
            (root / kind).mkdir(parents=True)
        for number in range(count):
            clean = photograph(number, height, width)
            noise = np.random.default_rng(100 + number).normal(0, 12, clean.shape)
            noisy = np.clip(clean + noise, 0, 255).round().astype(np.uint8)
            cv2.imwrite(str(root / 'gt' / f'{number:02d}.png'), clean)
            cv2.imwrite(str(root / 'lq' / f'{number:02d}.png'), noisy)
        return root

    return make


@pytest.fixture
def pairs(make_pairs: Callable[..., Path]) -> Path:
    """A folder of four pairs."""
    return make_pairs()


@pytest.fixture
def options(pairs: Path) -> dict[str, Any]:
    """Options of a tiny training of the first stage."""
    return train_options('MAXLModel', pairs)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Function that runs ``python -m maxl_sr.{train,test}`` in this process: ``run('train', opt, *flags)``.

    It runs in `tmp_path`. `opt` is a dictionary, written to an option file, or the path of one. Returns the exit code.
    """
    monkeypatch.chdir(tmp_path)

    def call(command: str, opt: dict[str, Any] | str | Path, *flags: str) -> int:
        if isinstance(opt, dict):
            path = tmp_path / 'options.yml'
            path.write_text(yaml.safe_dump(opt, sort_keys=False))
            opt = path
        monkeypatch.setattr(sys, 'argv', [command, '-opt', str(opt), *flags])
        # BasicSR's logger is one a process: start every run with a fresh one
        basicsr_logger.initialized_logger.clear()
        logging.getLogger('basicsr').handlers.clear()
        return importlib.import_module(f'maxl_sr.{command}').main()

    return call


@pytest.fixture
def refused(run, tmp_path, capfd):
    """Function that runs a command and checks that it is refused in one line which has every text of `told`."""

    def check(command, opt, *told, flags=(), written=False):
        capfd.readouterr()
        assert run(command, opt, *flags) == 2
        err = capfd.readouterr().err
        lines = [line for line in err.splitlines() if line.startswith('error: ')]
        assert len(lines) == 1
        assert 'Traceback' not in err
        for text in told:
            assert text in lines[0]
        if not written:
            assert err.splitlines() == lines
            assert not {'experiments', 'results', 'tb_logger'} & set(os.listdir(tmp_path))

    return check

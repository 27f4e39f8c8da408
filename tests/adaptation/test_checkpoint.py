"""Checkpoints are found by one module, and read once a start; what restores needs no training models."""

import ast
from collections import Counter
from pathlib import Path

import pytest
import torch
import yaml

import maxl_sr
from maxl_sr import Restorer
from maxl_sr.adaptation import checkpoint
from tests.helpers import meta_test_options, train_options

PACKAGE = Path(maxl_sr.__file__).parent


def imported(module):
    """The modules of the package that a module imports, wherever in it, without the package itself."""
    path = PACKAGE.parent / Path(*module.split('.'))
    path = path / '__init__.py' if path.is_dir() else path.with_suffix('.py')
    if not path.is_file():  # a name of a module
        return set()
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f'{node.module}.{alias.name}' for alias in node.names)}
    found |= {name.rpartition('.')[0] for name in found}  # and the packages that they are in
    return {name for name in found if name.startswith('maxl_sr.')}


@pytest.mark.parametrize('module', ['maxl_sr.restorer', 'maxl_sr.restore.loading'])
def test_restoring_needs_neither_training_models_nor_preflight(module):
    known, new = set(), {module}
    while new:
        known |= new
        new = {name for one in new for name in imported(one)} - known
    assert 'maxl_sr.adaptation' in known and 'maxl_sr.meta.rates' in known
    assert not [name for name in known if name.split('.')[1] in ('models', 'preflight', 'pipeline', 'toolbox')]


@pytest.fixture
def reads(monkeypatch):
    """How often each file is read by ``torch.load``."""
    counted, load = Counter(), torch.load

    def counting(file, *args, **kwargs):
        counted[Path(file).name] += 1
        return load(file, *args, **kwargs)

    monkeypatch.setattr(torch, 'load', counting)
    return counted


def test_every_checkpoint_is_read_once_a_start(make_pairs, run, tmp_path, reads):
    pairs = make_pairs()
    opt = train_options('MetaTransferModel', pairs)
    opt['train']['total_iter'] = 2
    opt['train']['inner']['learn_lr'] = 'tensor'
    opt['train']['optim_r'] = {'type': 'Adam', 'lr': 1e-3}
    assert run('train', opt) == 0 and not reads
    once = {'net_g_latest.pth': 1, 'net_m_latest.pth': 1}
    models = tmp_path / 'experiments/tiny/models'
    test = meta_test_options(pairs, models)
    del test['val']['adapt']['lr']
    assert run('test', test) == 0
    assert reads == once and checkpoint._kept.get() is None
    reads.clear()
    opt['name'] = 'next'
    opt['path'].update(pretrain_network_g=str(models / 'net_g_latest.pth'),
                       pretrain_network_m=str(models / 'net_m_latest.pth'))
    assert run('train', opt) == 0
    assert reads == once
    reads.clear()
    (tmp_path / 'test.yml').write_text(yaml.safe_dump(test))
    restorer = Restorer.from_options(str(tmp_path / 'test.yml'))
    assert restorer.adapts and reads == once and checkpoint._kept.get() is None


def test_a_file_that_was_written_anew_is_read_anew(tmp_path):
    path = tmp_path / 'x.pth'
    with checkpoint.read_once():
        for value in (1., 2.):
            torch.save({'params': {'weight': torch.full((int(value), ), value)}}, path)
            assert checkpoint.read_weights('x', str(path), 'params')[1]['weight'][0] == value
        assert checkpoint.load_checkpoint('x', str(path)) is checkpoint.load_checkpoint('x', str(path))

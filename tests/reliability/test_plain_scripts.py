"""A plain script of BasicSR that imports the package: the same checks and sentences."""

import sys
from pathlib import Path

import basicsr.train
import pytest
import yaml

from tests.helpers import edited, meta_test_options, python

SCRIPT = """
import os.path as osp
import maxl_sr
from basicsr.{command} import {command}_pipeline

if __name__ == '__main__':
    {command}_pipeline(osp.abspath(osp.dirname(__file__)))
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Function that runs a plain script of BasicSR in this process, and returns its exit code."""
    import runpy

    import basicsr.utils.logger as basicsr_logger

    def call(command, *arguments, text=SCRIPT):
        (tmp_path / f'{command}.py').write_text(text.format(command=command))
        monkeypatch.setattr(sys, 'argv', [f'{command}.py', *arguments])
        basicsr_logger.initialized_logger.clear()
        monkeypatch.chdir(tmp_path)
        try:
            runpy.run_path(str(tmp_path / f'{command}.py'), run_name='__main__')
        except SystemExit as stop:
            return stop.code
        return 0

    return call


def test_a_plain_script_trains_resumes_and_tests(script, options, pairs, tmp_path):
    (tmp_path / 'x.yml').write_text(yaml.safe_dump(options))
    assert script('train', '-opt', 'x.yml') == 0
    assert script('train', '-opt', 'x.yml', '--auto_resume', '--force_yml', 'train:total_iter=8') == 0
    assert (tmp_path / 'experiments/tiny/training_states/8.state').is_file()
    (tmp_path / 'y.yml').write_text(yaml.safe_dump(meta_test_options(pairs, tmp_path / 'experiments/tiny/models')))
    assert script('test', '-opt', 'y.yml') == 0
    assert (tmp_path / 'results/tiny_test/tiny.csv').is_file()


def test_a_plain_script_finds_what_the_package_brings(script, pairs, tmp_path):
    changes = ['num_gpu=0', 'datasets={}', 'path:pretrain_network_g=weights/fast.pth',
               'datasets:test_1={name: x, type: MixedPairedDataset, io_backend: {type: disk}, '
               f'dataroot_gt: {pairs}/gt, dataroot_lq: {pairs}/lq}}']
    assert script('test', '-opt', 'options/denoise/test_fast.yml', '--force_yml', *changes) == 0
    assert list((tmp_path / 'results').glob('*/x.csv'))


COPY = """
import maxl_sr
from basicsr.utils.options import copy_opt_file, dict2str, parse_options


def {command}_pipeline(root_path):
    opt, args = parse_options(root_path, is_train=True)
    raise RuntimeError('it goes on')


if __name__ == '__main__':
    {command}_pipeline('.')
"""


@pytest.mark.parametrize('text', [SCRIPT, COPY], ids=['pipeline', 'own pipeline'])
def test_a_plain_script_refuses_in_a_sentence(script, options, tmp_path, text, capfd):
    for changes, told in (({'name': '../x'}, 'name'), ({'train__scheduler__milestones': ['3e0']}, 'milestones'),
                          ({'path__pretrain_network_g': 'weights/x.pth'}, 'there are no weights weights/x.pth')):
        (tmp_path / 'x.yml').write_text(yaml.safe_dump(edited(dict(options), **changes)))
        assert script('train', '-opt', 'x.yml', text=text) == 2
        err = capfd.readouterr().err
        assert err.startswith('error: ') and told in err and err.count('\n') == 1
    assert script('train', '-opt', 'options/nowhere.yml', text=text) == 2
    assert 'the package brings options/' in capfd.readouterr().err


@pytest.mark.slow
def test_a_copy_of_basicsr_s_pipeline_resumes_and_ends_in_a_sentence(run, options, tmp_path):
    assert run('train', options) == 0
    text = Path(basicsr.train.__file__).read_text().replace('osp.join(__file__, osp.pardir, osp.pardir)', '"."')
    edited(options, train__total_iter=8, logger__save_checkpoint_freq=1)
    (tmp_path / 'x.yml').write_text(yaml.safe_dump(options))
    text = text.replace("model.save(epoch, current_iter)", "import shutil; shutil.rmtree('experiments/tiny/models'); "
                        "model.save(epoch, current_iter)")
    (tmp_path / 'own.py').write_text(f'import maxl_sr\n{text}')
    done = python('own.py', '-opt', 'x.yml', '--auto_resume', cwd=tmp_path)
    assert 'Resuming training from epoch: 2, iter: 6.' in done.stderr
    assert done.returncode == 2 and 'Traceback' not in done.stderr
    assert done.stderr.splitlines()[-1].startswith('error: cannot write a checkpoint to ')

"""The oracle: supervision by half an image, scored on the other half."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.meta import Task
from tests.helpers import ROOT, meta_test_options, train_options

SCRIPT = ROOT / 'scripts/oracle.py'


@pytest.fixture(scope='module')
def oracle():
    return runpy.run_path(str(SCRIPT))


def test_only_the_left_half_supervises(oracle):
    net, y, x = MultiTaskNet(num_feat=4, num_block=1), torch.rand(1, 3, 16, 20), torch.rand(1, 3, 16, 20)
    value = Task(net, oracle['Supervised'](x), y, None).objective(dict(net.named_parameters()))
    torch.testing.assert_close(value, (net(y) - x)[..., :10].abs().mean())


def test_only_the_right_half_is_scored(oracle):
    truth = np.full((16, 20, 3), 100, np.uint8)
    restored = truth.copy()
    restored[:, :10] = 0
    restored[:, 10:] += 5
    assert oracle['score'](restored, truth, None) == pytest.approx(20 * np.log10(255 / 5))
    assert oracle['score'](restored, truth, truth + 5) == np.inf  # the light is that of the noisy image


def test_the_table(oracle, run, make_pairs, tmp_path, monkeypatch, capsys):
    import yaml
    pairs = make_pairs()
    assert run('train', train_options('MetaTransferModel', pairs)) == 0
    opt = meta_test_options(pairs, tmp_path / 'experiments/tiny/models')
    Path('test.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
    capsys.readouterr()
    monkeypatch.setattr(sys, 'argv', ['oracle.py', '-opt', 'test.yml', '--steps', '20', '--lr', '1e-3', '--every', '2'])
    assert oracle['main']() == 0
    row = capsys.readouterr().out.splitlines()[-1].split('|')
    assert row[1].strip() == 'tiny (2)' and float(row[3].split()[0]) > 0.1
    monkeypatch.setattr(sys, 'argv', ['oracle.py', '-opt', 'nowhere.yml'])
    assert oracle['main']() == 2
    assert 'nowhere.yml' in capsys.readouterr().err
    del opt['datasets']['test_1']['dataroot_gt']
    opt['datasets']['test_1']['type'] = 'SingleImageDataset'
    Path('test.yml').write_text(yaml.safe_dump(opt, sort_keys=False))
    for arguments, told in ((('--every', '0'), '--every must be at least 1, not 0'),
                            (('--center-crop', '-1'), '--center-crop must be at least 1, not -1'),
                            ((), 'test.yml: datasets: test_1 has no ground truth')):
        monkeypatch.setattr(sys, 'argv', ['oracle.py', '-opt', 'test.yml', *arguments])
        assert oracle['main']() == 2
        assert f'error: {told}' in capsys.readouterr().err

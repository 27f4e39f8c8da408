"""A widened network computes what it computed before, and can learn more."""


import pytest
import torch

from maxl_sr.archs.multitask_arch import MultiTaskNet, ParallelMultiTaskNet
from tests.helpers import ROOT, python, slow

SCRIPT = ROOT / 'scripts/widen.py'


def widen(*arguments):
    return python(SCRIPT, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet])
@pytest.mark.parametrize('scale', [1, 2])
def test_it_computes_the_same_with_twice_as_many_features(tmp_path, arch, scale):
    torch.manual_seed(0)
    net = arch(num_feat=4, feat_step=2, scale=scale).double()
    torch.save({'params': net.state_dict()}, tmp_path / 'net.pth')
    done = widen(tmp_path / 'net.pth', '-o', tmp_path / 'new' / 'wide.pth')
    assert done.returncode == 0, done.stderr
    wide = arch(num_feat=8, feat_step=4, scale=scale).double()
    wide.load_state_dict(torch.load(tmp_path / 'new' / 'wide.pth')['params'])
    x = torch.rand(2, 3, 13, 10, dtype=torch.float64)
    for ours, before in zip(*(n.forward_heads(n.forward_features(x), x) for n in (wide, net))):
        torch.testing.assert_close(ours, before, rtol=0, atol=1e-12)
    wide(x).square().mean().backward()
    gradient = wide.body.encoders[0][0].conv1.weight.grad
    assert not torch.allclose(gradient[:4], gradient[4:])  # the twins do not learn the same


@pytest.mark.parametrize('name, message', [
    ('other.pth', 'other.pth is no checkpoint of a MultiTaskNet'),
    *slow(('none.pth', 'there is no file {folder}/none.pth'),
          ('text.pth', 'text.pth is no checkpoint of torch, or not a whole one'))])
def test_what_is_no_checkpoint_is_refused(tmp_path, name, message):
    torch.save({'params': {'weight': torch.ones(1)}}, tmp_path / 'other.pth')
    (tmp_path / 'text.pth').write_text('no checkpoint')
    done = widen(tmp_path / name, '-o', tmp_path / 'wide.pth')
    assert done.returncode == 2 and message.format(folder=tmp_path) in done.stderr and 'Traceback' not in done.stderr
    assert not (tmp_path / 'wide.pth').exists()

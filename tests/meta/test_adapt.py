"""Algorithm 3: adaptation to one image."""

import pytest
import torch

from maxl_sr.archs.mask_arch import MaskNet
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.meta import Task, adapt


@pytest.fixture
def net():
    torch.manual_seed(0)
    return MultiTaskNet(num_feat=6, feat_step=2, num_block=1, num_level=2).double()


@pytest.fixture
def y():
    return torch.rand(1, 3, 10, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def moving_weights(net, params):
    return [w for n, w in net.named_parameters() if params == 'all' or not n.startswith('body')]


@pytest.mark.parametrize('optimizer', ['sgd', 'adam'])
@pytest.mark.parametrize('params', ['heads', 'all'])
def test_equals_torch_optim_on_the_network_itself(net, y, optimizer, params):
    mask = MaskNet(num_feat=4).double()(y).detach()
    task = Task(net, MaskedReconstructionLoss(), y, mask, params)
    steps = [(task.restored(w), loss) for w, loss in adapt(task, 4, 0.02, optimizer)]
    kinds = {'sgd': torch.optim.SGD, 'adam': torch.optim.Adam}
    reference = kinds[optimizer](moving_weights(net, params), lr=0.02)
    for restored, loss in steps:
        expected = ((net.forward_heads(net.forward_features(y), y)[1] - y).abs() * mask).mean()
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-12, atol=0)
        reference.zero_grad()
        expected.backward()
        reference.step()
        torch.testing.assert_close(restored, net(y), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize('optimizer', ['sgd', 'adam'])
def test_leaves_the_network_as_it_was(net, y, optimizer):
    before = {n: w.clone() for n, w in net.state_dict().items()}
    task = Task(net, MaskedReconstructionLoss(), y, None, 'all')
    *_, (weights, _) = adapt(task, 3, 0.1, optimizer)
    assert any(not torch.equal(weights[n], before[n]) for n in weights)
    assert all(torch.equal(w, before[n]) for n, w in net.state_dict().items())
    assert all(w.grad is None for w in net.parameters())


def test_works_inside_no_grad(net, y):
    with torch.no_grad():
        task = Task(net, MaskedReconstructionLoss(), y, None)
        losses = [loss.item() for _, loss in adapt(task, 5, 0.1)]
    assert losses[-1] < losses[0]


def test_leaves_the_grad_mode_of_the_caller(net, y):
    with torch.no_grad():
        task = Task(net, MaskedReconstructionLoss(), y, None)
        assert all(not torch.is_grad_enabled() and not task.restored(weights).requires_grad
                   for weights, _ in adapt(task, 2, 0.1))


def test_continues_from_the_last_step(net, y):
    task = Task(net, MaskedReconstructionLoss(), y, None)
    one, = adapt(task, 1, 0.1)
    *_, last = adapt(task, 3, 0.1)
    assert not torch.allclose(one[0]['aux_head.0.weight'], last[0]['aux_head.0.weight'], rtol=1e-6)


def test_the_body_runs_once_an_image(net, y):
    calls = []
    net.body.register_forward_hook(lambda *args: calls.append(1))
    task = Task(net, MaskedReconstructionLoss(), y, None)
    *_, (weights, _) = adapt(task, 5, 0.1)
    task.restored(weights)
    assert len(calls) == 1


def test_wrong_choices_are_refused(net, y):
    with pytest.raises(ValueError, match="params must be one of heads, all, gains, input, not 'head'"):
        Task(net, MaskedReconstructionLoss(), y, None, 'head')
    with pytest.raises(ValueError, match="optimizer must be 'sgd' or 'adam', not 'lion'"):
        next(adapt(Task(net, MaskedReconstructionLoss(), y, None), 1, 0.1, 'lion'))

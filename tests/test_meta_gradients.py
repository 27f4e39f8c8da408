"""The meta-gradients in float64 against plain unrolled autograd through the whole network and finite differences."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from maxl_sr.archs.mask_arch import MaskNet
from maxl_sr.archs.multitask_arch import MultiTaskNet, ParallelMultiTaskNet
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.meta import maxl_loss, transfer_loss

LR, LAMBDA_IN = 0.05, 2.0


class Problem:
    """Two small networks and a batch of two pairs, in float64."""

    def __init__(self, arch=MultiTaskNet, seed=0):
        torch.manual_seed(seed)
        self.net = arch(num_feat=6, feat_step=2, num_block=1, num_level=2, num_primary_block=1).double()
        self.mask_net = MaskNet(num_feat=4, num_block=1).double()
        self.y = torch.rand(2, 3, 9, 11, dtype=torch.float64)
        self.x = torch.rand(2, 3, 9, 11, dtype=torch.float64)
        self.objective = MaskedReconstructionLoss()

    def weights(self):
        return [*self.net.parameters(), *self.mask_net.parameters()]

    def named(self):
        return [*self.net.named_parameters(), *self.mask_net.named_parameters(prefix='mask')]


def naive_outputs(net, weights, y):
    """Restored image and reconstruction by the whole network, written out from its sub-modules."""
    own = {name.split('.', 1)[0] for name in weights}
    part = {m: {k.split('.', 1)[1]: v for k, v in weights.items() if k.startswith(m + '.')} for m in own}

    def call(module, *args):
        return functional_call(getattr(net, module), part.get(module, {}), args)

    features = call('body', y)
    residual = call('primary_head', features)
    restored = y + residual
    if isinstance(net, ParallelMultiTaskNet):
        return restored, call('aux_head', features)
    return restored, call('aux_head', torch.cat([restored, residual], 1))


def naive_transfer(problem, steps, params, mask=None):
    """Algorithm 2 unrolled, the whole network in every inner step, one sample after the other."""
    total = 0
    for i in range(len(problem.y)):
        y, x = problem.y[i:i + 1], problem.x[i:i + 1]
        own = problem.mask_net(y) if mask is None else mask[i:i + 1]
        weights = dict(problem.net.named_parameters())
        moving = [n for n in weights if params == 'all' or n.startswith(('primary_head', 'aux_head'))]
        for _ in range(steps):
            loss = LAMBDA_IN * ((naive_outputs(problem.net, weights, y)[1] - y).abs() * own).mean()
            grads = torch.autograd.grad(loss, [weights[n] for n in moving], create_graph=True, allow_unused=True)
            for n, g in zip(moving, grads):
                if g is not None:
                    weights[n] = weights[n] - LR * g
        total = total + (naive_outputs(problem.net, weights, y)[0] - x).abs().mean()
    return total


def ours_transfer(problem, steps, params, meta_gradient='stored', mask=None):
    return transfer_loss(problem.net, problem.objective, F.l1_loss, problem.y, problem.x,
                         problem.mask_net(problem.y) if mask is None else mask, steps=steps, lr=LR,
                         loss_weight=LAMBDA_IN, params=params, meta_gradient=meta_gradient)


def naive_maxl(problem, lr=LR, mask=None):
    """Loop (b) of Algorithm 1 with a second-order graph."""
    mask = problem.mask_net(problem.y) if mask is None else mask
    weights = dict(problem.net.named_parameters())
    restored, reconstruction = naive_outputs(problem.net, weights, problem.y)
    loss = (restored - problem.x).abs().mean() + ((reconstruction - problem.y).abs() * mask).mean()
    grads = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    virtual = {n: w - lr * g for (n, w), g in zip(weights.items(), grads)}
    return (naive_outputs(problem.net, virtual, problem.y)[0] - problem.x).abs().mean()


def ours_maxl(problem, lr=LR, mask=None):
    return maxl_loss(problem.net, problem.objective, F.l1_loss, problem.y, problem.x,
                     problem.mask_net(problem.y) if mask is None else mask, lr=lr)


def gradients(loss, weights):
    return torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)


def assert_close(ours, reference, names, tolerance):
    for name, a, b in zip(names, ours, reference):
        scale = b.norm() if b.norm() > 0 else 1
        assert (a - b).norm() / scale < tolerance, name


@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet])
@pytest.mark.parametrize('params', ['heads', 'all'])
@pytest.mark.parametrize('steps', [1, 3, 5])
def test_transfer_equals_unrolled_autograd(arch, params, steps):
    problem = Problem(arch)
    names, weights = zip(*problem.named())
    ours, naive = ours_transfer(problem, steps, params), naive_transfer(problem, steps, params)
    torch.testing.assert_close(ours, naive, rtol=1e-12, atol=0)
    reference = gradients(naive, weights)
    assert_close(gradients(ours, weights), reference, names, 1e-9)
    reached = {name.split('.')[0] for name, g in zip(names, reference) if g.norm() > 0}
    if arch is MultiTaskNet:  # in the parallel network L_aux does not reach what L_pri reads, when heads adapt
        assert reached == {'body', 'primary_head', 'aux_head', 'mask'}


def finite_difference(loss, weights, step=1e-6):
    """Derivative of `loss()` along a random direction of `weights`, central differences, and the direction."""
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(w.shape, generator=generator, dtype=w.dtype) for w in weights]
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for w, d in zip(weights, direction):
                w.add_(sign * step * d)
        values.append(loss().item())
        with torch.no_grad():
            for w, d in zip(weights, direction):
                w.sub_(sign * step * d)
    return (values[0] - values[1]) / (2 * step), direction


@pytest.mark.parametrize('part', ['body', 'primary_head', 'aux_head', 'mask'])
@pytest.mark.parametrize('steps', [1, 3, 5])
def test_transfer_equals_finite_differences(part, steps):
    problem = Problem()
    weights = [w for name, w in problem.named() if name.startswith(part)]
    numeric, direction = finite_difference(lambda: ours_transfer(problem, steps, 'heads'), weights)
    exact = sum((g * d).sum() for g, d in zip(gradients(ours_transfer(problem, steps, 'heads'), weights), direction))
    assert exact.item() == pytest.approx(numeric, rel=1e-5)


def test_first_order_is_the_gradient_at_the_adapted_weights():
    problem = Problem()
    names = dict(problem.net.named_parameters())
    total = [torch.zeros_like(w) for w in names.values()]
    for i in range(2):
        y, x = problem.y[i:i + 1], problem.x[i:i + 1]
        adapted = {n: w.detach().clone().requires_grad_() for n, w in names.items()}
        for _ in range(3):
            loss = LAMBDA_IN * ((naive_outputs(problem.net, adapted, y)[1] - y).abs() * problem.mask_net(y)).mean()
            heads = [n for n in adapted if not n.startswith('body')]
            for n, g in zip(heads, torch.autograd.grad(loss, [adapted[n] for n in heads])):
                adapted[n] = (adapted[n] - LR * g).detach().requires_grad_()
        outer = (naive_outputs(problem.net, adapted, y)[0] - x).abs().mean()
        total = [t + g for t, g in zip(total, gradients(outer, list(adapted.values())))]
    ours = ours_transfer(problem, 3, 'heads', 'first_order')
    assert_close(gradients(ours, list(names.values())), total, names, 1e-9)
    assert all((g == 0).all() for g in gradients(ours_transfer(problem, 3, 'heads', 'first_order'),
                                                 list(problem.mask_net.parameters())))


@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet])
def test_maxl_equals_double_backward(arch):
    problem = Problem(arch)
    weights = list(problem.mask_net.parameters())
    ours, naive = ours_maxl(problem), naive_maxl(problem)
    torch.testing.assert_close(ours, naive, rtol=1e-12, atol=0)
    assert_close(gradients(ours, weights), gradients(naive, weights), range(99), 1e-9)


def test_maxl_equals_finite_differences():
    problem = Problem()
    weights = list(problem.mask_net.parameters())
    numeric, direction = finite_difference(lambda: ours_maxl(problem), weights)
    exact = sum((g * d).sum() for g, d in zip(gradients(ours_maxl(problem), weights), direction))
    assert exact.item() == pytest.approx(numeric, rel=1e-5)


def test_maxl_leaves_the_multi_task_network_without_gradient():
    problem = Problem()
    ours_maxl(problem).backward()
    assert all(w.grad is None for w in problem.net.parameters())


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_collapsed_masks_are_finite(value):
    problem = Problem()
    mask = torch.full((2, 1, 9, 11), value, dtype=torch.float64, requires_grad=True)
    for ours, naive in ((ours_transfer(problem, 3, 'heads', mask=mask), naive_transfer(problem, 3, 'heads', mask)),
                        (ours_maxl(problem, mask=mask), naive_maxl(problem, mask=mask))):
        got, = gradients(ours, [mask])
        assert torch.isfinite(ours) and torch.isfinite(got).all() and got.abs().sum() > 0
        torch.testing.assert_close(got, *gradients(naive, [mask]), rtol=1e-9, atol=1e-14)


def test_the_body_runs_once_a_step_when_heads_adapt():
    problem = Problem()
    calls = []
    problem.net.body.register_forward_hook(lambda *args: calls.append(1))
    ours_transfer(problem, 5, 'heads')
    assert len(calls) == 1

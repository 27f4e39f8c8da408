"""The meta-gradients in float64 against plain unrolled autograd through the whole network and finite differences."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from maxl_sr.archs.multitask_arch import MultiTaskNet, ParallelMultiTaskNet
from maxl_sr.losses.blind_spot_loss import BlindSpotLoss, _pattern, hide_pixels
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.losses.neighbor2neighbor_loss import Neighbor2NeighborLoss, neighbors
from maxl_sr.losses.noise_transplant_loss import NoiseTransplantLoss
from maxl_sr.losses.recorruption_loss import RecorruptionLoss
from maxl_sr.losses.redegradation_loss import RedegradationLoss
from maxl_sr.losses.sum_loss import SumObjective
from maxl_sr.losses.sure_loss import SURELoss
from maxl_sr.meta import InnerRates, adaptable_weights, maxl_loss, replay, stored_bytes, transfer_loss
from maxl_sr.meta.convolution import DirectDoubleBackward
from maxl_sr.meta.samples import sum_over_samples
from tests.helpers import tiny_mask_net

LR, LAMBDA_IN = 0.05, 2.0
ANY_BLUR = RedegradationLoss(kernel_size=3, tolerance=99)  # no blur is known
KNOWN_BLUR = RedegradationLoss(kernel_size=3, estimate='image')
TRANSPLANT = NoiseTransplantLoss(block_size=2, share=0.3, candidates=2, flatness=99)
SURE = SURELoss(block_size=2, share=0.3, candidates=2, flatness=99)
SUM = SumObjective([{'type': 'Neighbor2NeighborLoss'}, {'type': 'RecorruptionLoss', 'loss_weight': 0.5},
                    {'type': 'NoiseTransplantLoss', 'block_size': 2, 'share': 0.3, 'candidates': 2, 'flatness': 99},
                    {'type': 'MaskedReconstructionLoss'}])
PAIRS = (RedegradationLoss, NoiseTransplantLoss, RecorruptionLoss)  # restore a degraded copy of a target
EXACT = [('stored', 'one_by_one'), ('stored', 'together'), ('replay', 'one_by_one'), ('replay', 'together')]


class Problem:
    """Two small networks and a batch of two pairs, in float64."""

    def __init__(self, arch=MultiTaskNet, seed=0, scale=1):
        torch.manual_seed(seed)
        self.net = arch(num_feat=6, feat_step=2, num_block=1, num_level=2, num_primary_block=1, scale=scale).double()
        self.mask_net = tiny_mask_net().double()
        self.y = torch.rand(2, 3, 9, 11, dtype=torch.float64)
        self.x = torch.rand(2, 3, 9 * scale, 11 * scale, dtype=torch.float64)
        self.objective = MaskedReconstructionLoss()

    def weights(self):
        return [*self.net.parameters(), *self.mask_net.parameters()]

    def named(self):
        return [*self.net.named_parameters(), *self.mask_net.named_parameters(prefix='mask')]


def naive_outputs(net, weights, y):
    """Restored image and reconstruction by the whole network, written out from its sub-modules."""
    if 'offset' in weights:  # of the input, for images made of it in its size
        y = y + F.interpolate(weights['offset'], y.shape[-2:], mode='bilinear')
    weights = {name: weight for name, weight in weights.items() if name != 'offset'}
    own = {name.split('.', 1)[0] for name in weights}
    part = {m: {k.split('.', 1)[1]: v for k, v in weights.items() if k.startswith(m + '.')} for m in own}

    def call(module, *args):
        return functional_call(getattr(net, module), part.get(module, {}), args)

    features = call('body', y)
    residual = call('primary_head', features)
    enlarged = F.interpolate(y, scale_factor=net.scale, mode='bicubic', antialias=True) if net.scale > 1 else y
    restored = enlarged + residual
    if isinstance(net, ParallelMultiTaskNet):
        return restored, call('aux_head', features)
    return restored, call('aux_head', F.pixel_unshuffle(torch.cat([restored, residual], 1), net.scale))


def naive_objective(problem, weights, y, mask, start=None, objective=None):
    """L_aux of the whole network, written out: the paper's or one of the others."""
    objective = objective or problem.objective
    at = weights if start is None else start
    if isinstance(objective, SumObjective):
        parts = (naive_objective(problem, weights, y, mask, start, part) for part in objective.objectives)
        return sum(part.loss_weight * loss for part, loss in zip(objective.objectives, parts))
    restore = SimpleNamespace(y=y, restored=lambda x=y: naive_outputs(problem.net, at, x)[0],
                              forward_features=lambda x: x)
    restore.once = lambda function, *args: function(restore, *args)
    if isinstance(objective, SURELoss):
        _, _, _, moved, compared, probe, scale = objective.prepare(restore, y)
        assert scale.all()
        restored, other = (naive_outputs(problem.net, weights, x)[0] for x in (y, moved))
        return (mask * scale * ((restored - compared) ** 2 + 2 * probe * (other - restored) / 0.3)).mean()
    if isinstance(objective, PAIRS):
        copy, target, *unknown = objective.prepare(restore, y)[1:]
        assert all(flag.all() for flag in unknown)
        weight = F.interpolate(mask, size=target.shape[-2:], mode='bilinear')
        error = naive_outputs(problem.net, weights, copy)[0] - target
        if isinstance(objective, NoiseTransplantLoss):
            error = error - error.mean((2, 3), keepdim=True)
        return (error.abs() * weight).mean()
    if isinstance(objective, Neighbor2NeighborLoss):
        (first, second), weight = neighbors(y), neighbors(mask)[0]
        one, two = neighbors(naive_outputs(problem.net, at, y)[0].detach())
        difference = naive_outputs(problem.net, weights, first)[0] - second
        return ((difference.abs() + (difference - (one - two)).abs()) * weight).mean()
    if isinstance(objective, BlindSpotLoss):
        hidden, blind = hide_pixels(y, objective.ratio)
        error = (naive_outputs(problem.net, weights, hidden)[0] - y).abs() * mask * blind
        return error.sum() / (3 * blind.sum())
    return ((naive_outputs(problem.net, weights, y)[1] - y).abs() * mask).mean()


def naive_transfer(problem, steps, params, mask=None, rates=None, unadapted_weight=0):
    """Algorithm 2 unrolled, the whole network in every inner step, one sample after the other."""
    total = 0
    for i in range(len(problem.y)):
        y, x = problem.y[i:i + 1], problem.x[i:i + 1]
        own = problem.mask_net(y) if mask is None else mask[i:i + 1]
        weights = dict(problem.net.named_parameters())
        total = total + unadapted_weight * (naive_outputs(problem.net, weights, y)[0] - x).abs().mean()
        start = dict(weights) if params == 'heads' else None  # what is prepared once an image
        moving = [n for n in weights if params == 'all' or n.startswith(('primary_head', 'aux_head'))]
        for k in range(steps):
            loss = LAMBDA_IN * naive_objective(problem, weights, y, own, start)
            grads = torch.autograd.grad(loss, [weights[n] for n in moving], create_graph=True, allow_unused=True)
            for n, g in zip(moving, grads):
                if g is not None:
                    weights[n] = weights[n] - (LR if rates is None else rates[k][n]) * g
        total = total + (naive_outputs(problem.net, weights, y)[0] - x).abs().mean()
    return total


def naive_space_transfer(problem, steps, space, rates=None):
    """Algorithm 2 on gains of the channels or on an offset of the input, unrolled."""
    total = 0
    base = dict(problem.net.named_parameters())
    for i in range(len(problem.y)):
        y, x = problem.y[i:i + 1], problem.x[i:i + 1]
        own = problem.mask_net(y)
        if space == 'gains':
            moving = {n: torch.ones(len(w), dtype=w.dtype, requires_grad=True) for n, w in base.items()}
        else:
            moving = {'offset': torch.zeros_like(y, requires_grad=True)}

        def network(moving):
            if space == 'input':
                return base | moving
            return {n: torch.einsum('o...,o->o...', w, moving[n]) for n, w in base.items()}

        for k in range(steps):
            loss = LAMBDA_IN * naive_objective(problem, network(moving), y, own)
            grads = torch.autograd.grad(loss, list(moving.values()), create_graph=True, materialize_grads=True)
            of_step = [LR] * len(moving) if rates is None else rates[k].values()
            moving = {n: w - rate * g for (n, w), rate, g in zip(moving.items(), of_step, grads)}
        total = total + (naive_outputs(problem.net, network(moving), y)[0] - x).abs().mean()
    return total


def ours_transfer(problem, steps, params, meta_gradient='stored', mask=None, samples='one_by_one', rates=LR,
                  unadapted_weight=0.0):
    return transfer_loss(problem.net, problem.objective, F.l1_loss, problem.y, problem.x,
                         problem.mask_net(problem.y) if mask is None else mask, steps=steps, lr=rates,
                         loss_weight=LAMBDA_IN, params=params, meta_gradient=meta_gradient, samples=samples,
                         unadapted_weight=unadapted_weight)


def naive_maxl(problem, lr=LR, mask=None):
    """Loop (b) of Algorithm 1 with a second-order graph."""
    mask = problem.mask_net(problem.y) if mask is None else mask
    weights = dict(problem.net.named_parameters())
    primary = (naive_outputs(problem.net, weights, problem.y)[0] - problem.x).abs().mean()
    loss = primary + naive_objective(problem, weights, problem.y, mask)
    grads = torch.autograd.grad(loss, list(weights.values()), create_graph=True, materialize_grads=True)
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
@pytest.mark.parametrize('objective', [MaskedReconstructionLoss(), BlindSpotLoss(ratio=0.2), ANY_BLUR, KNOWN_BLUR,
                                       TRANSPLANT, SURE, SUM])
@pytest.mark.parametrize('steps', [1, 3, 5])
def test_transfer_equals_unrolled_autograd(arch, params, objective, steps):
    _pattern.cache_clear()
    problem = Problem(arch)
    problem.objective = objective
    names, weights = zip(*problem.named())
    together = ours_transfer(problem, steps, params, samples='together')  # first: vmap makes the blind spots
    naive = naive_transfer(problem, steps, params)
    torch.testing.assert_close(together, naive, rtol=1e-12, atol=0)
    reference = gradients(naive, weights)
    for meta_gradient, samples in EXACT:
        ours = ours_transfer(problem, steps, params, meta_gradient, samples=samples)
        torch.testing.assert_close(ours, naive, rtol=1e-12, atol=0)
        assert_close(gradients(ours, weights), reference, names, 1e-9)
    reached = {name.split('.')[0] for name, g in zip(names, reference) if g.norm() > 0}
    if arch is MultiTaskNet and isinstance(objective, MaskedReconstructionLoss):
        # in the parallel network L_aux does not reach what L_pri reads, when heads adapt
        assert reached == {'body', 'primary_head', 'aux_head', 'mask'}


@pytest.mark.parametrize('space', ['gains', 'input'])
@pytest.mark.parametrize('objective', [MaskedReconstructionLoss(), BlindSpotLoss(ratio=0.2), Neighbor2NeighborLoss(),
                                       TRANSPLANT, SUM])
def test_gains_and_offset_of_the_input_equal_unrolled_autograd(space, objective):
    _pattern.cache_clear()
    problem = Problem()
    problem.objective = objective
    names, weights = zip(*problem.named())
    together = ours_transfer(problem, 3, space, samples='together')
    naive = naive_space_transfer(problem, 3, space)
    torch.testing.assert_close(together, naive, rtol=1e-12, atol=0)
    reference = gradients(naive, weights)
    for meta_gradient, samples in EXACT:
        ours = ours_transfer(problem, 3, space, meta_gradient, samples=samples)
        torch.testing.assert_close(ours, naive, rtol=1e-12, atol=0)
        assert_close(gradients(ours, weights), reference, names, 1e-9)


@pytest.mark.parametrize('space', ['gains', 'input'])
def test_learned_rates_of_gains_and_offset(space):
    problem = Problem()
    rates = InnerRates(problem.net, LR, space, 'tensor', 2)
    assert InnerRates.from_state_dict(rates.state_dict()).kind() == (space, 'tensor', 2)
    with torch.no_grad():
        for number, rate in enumerate(rates.parameters()):
            rate += 0.3 * torch.randn(rate.shape, generator=torch.Generator().manual_seed(number), dtype=rate.dtype)
    names, weights = zip(*problem.named(), *rates.named_parameters())
    reference = gradients(naive_space_transfer(problem, 2, space, rates(2)), weights)
    for meta_gradient, samples in EXACT:
        ours = ours_transfer(problem, 2, space, meta_gradient, samples=samples, rates=rates(2))
        assert_close(gradients(ours, weights), reference, names, 1e-9)
    if space == 'input':
        with pytest.raises(ValueError, match='for images of any size'):
            InnerRates(problem.net, LR, space, 'parameter')


@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet])
@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('objective', [MaskedReconstructionLoss(), ANY_BLUR])
def test_super_resolution_equals_unrolled_autograd(arch, scale, objective):
    problem = Problem(arch, scale=scale)
    problem.objective = objective
    names, weights = zip(*problem.named())
    reference = gradients(naive_transfer(problem, 2, 'heads'), weights)
    for meta_gradient, samples in EXACT:
        assert_close(gradients(ours_transfer(problem, 2, 'heads', meta_gradient, samples=samples), weights), reference,
                     names, 1e-9)
    weights = list(problem.mask_net.parameters())
    assert_close(gradients(ours_maxl(problem), weights), gradients(naive_maxl(problem), weights), range(99), 1e-9)


@pytest.mark.parametrize('params', ['heads', 'all'])
@pytest.mark.parametrize('meta_gradient, samples', EXACT)
def test_loss_before_the_steps_equals_unrolled_autograd(params, meta_gradient, samples):
    problem = Problem()
    names, weights = zip(*problem.named())
    naive = naive_transfer(problem, 3, params, unadapted_weight=0.7)
    ours = ours_transfer(problem, 3, params, meta_gradient, samples=samples, unadapted_weight=0.7)
    torch.testing.assert_close(ours, naive, rtol=1e-12, atol=0)
    assert_close(gradients(ours, weights), gradients(naive, weights), names, 1e-9)


@pytest.mark.parametrize('meta_gradient, samples', EXACT)
def test_transfer_in_float32(meta_gradient, samples):
    problem = Problem()
    names, weights = zip(*problem.named())
    reference = gradients(naive_transfer(problem, 3, 'heads'), weights)
    for module in (problem.net, problem.mask_net):
        module.float()
    problem.y, problem.x = problem.y.float(), problem.x.float()
    weights = problem.weights()
    ours = gradients(ours_transfer(problem, 3, 'heads', meta_gradient, samples=samples), weights)
    assert_close([g.double() for g in ours], reference, names, 1e-5)


@pytest.mark.parametrize('meta_gradient, samples', EXACT)
@pytest.mark.parametrize('learn_lr, per_step', [('tensor', False), ('tensor', True), ('parameter', False),
                                                ('parameter', True)])
@pytest.mark.parametrize('params', ['heads', 'all'])
def test_learned_rates_equal_unrolled_autograd(meta_gradient, samples, learn_lr, per_step, params):
    problem = Problem()
    rates = InnerRates(problem.net, LR, params, learn_lr, 3 if per_step else 1)
    with torch.no_grad():
        for number, rate in enumerate(rates.parameters()):
            rate += 0.3 * torch.randn(rate.shape, generator=torch.Generator().manual_seed(number), dtype=rate.dtype)
    names, weights = zip(*problem.named(), *rates.named_parameters())
    reference = gradients(naive_transfer(problem, 3, params, rates=rates(3)), weights)
    ours = ours_transfer(problem, 3, params, meta_gradient, samples=samples, rates=rates(3))
    assert_close(gradients(ours, weights), reference, names, 1e-9)
    assert all(g.norm() > 0 for n, g in zip(names, reference) if 'log_rates' in n)


def test_weights_of_the_heads_that_do_not_adapt_get_their_gradient():
    class Tail(MultiTaskNet):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.gain = torch.nn.Parameter(torch.tensor(0.9))

        def forward_primary(self, features, x):
            return x + self.gain * self.primary_head(features)

        def forward_heads(self, features, x):
            restored = self.forward_primary(features, x)
            return restored, self._reconstruct(features, restored, restored - x)

    problem = Problem(Tail)
    gain = problem.net.gain
    for meta_gradient, samples in EXACT:
        def loss(meta_gradient=meta_gradient, samples=samples):
            return ours_transfer(problem, 3, 'heads', meta_gradient, samples=samples)
        numeric, (direction, ) = finite_difference(loss, [gain])
        assert (gradients(loss(), [gain])[0] * direction).item() == pytest.approx(numeric, rel=1e-5)


def test_frozen_weights_stay_out():
    problem = Problem()
    problem.net.body.conv_first.weight.requires_grad_(False)
    problem.net.aux_head[0].weight.requires_grad_(False)
    weights = [weight for weight in problem.weights() if weight.requires_grad]
    reference = gradients(ours_transfer(problem, 2, 'heads'), weights)
    for mode in (['replay'], ['stored', None, 'together']):
        assert_close(gradients(ours_transfer(problem, 2, 'heads', *mode), weights), reference, range(99), 1e-9)
    assert sum(g.norm() for g in gradients(ours_maxl(problem), list(problem.mask_net.parameters()))) > 0
    assert 'aux_head.0.weight' not in adaptable_weights(problem.net, 'heads')
    problem.net.requires_grad_(False)
    assert 'aux_head.0.weight' in adaptable_weights(problem.net, 'heads')


def test_replay_passes_gradcheck():
    torch.manual_seed(0)
    weights = {'a': torch.rand(3, 4, dtype=torch.float64), 'b': torch.rand(4, dtype=torch.float64)}
    x = torch.rand(5, 3, dtype=torch.float64)
    rates = [{'a': torch.tensor(0.1 * k, dtype=torch.float64), 'b': torch.rand(4, dtype=torch.float64)} for k in (1, 2)]

    def loss(weights, inputs):
        return (inputs[0] @ weights['a']).sin().mul(weights['b'].exp()).square().mean()

    def adapted(a, b, x, *flat):
        own = iter(flat)
        of_steps = [{name: next(own) for name in rate} for rate in rates]
        return tuple(replay(loss, {'a': a, 'b': b}, (x, None), of_steps).values())

    leaves = [t.clone().requires_grad_() for t in (*weights.values(), x, *(r for rate in rates for r in rate.values()))]
    assert torch.autograd.gradcheck(adapted, leaves)


def test_sum_over_samples_passes_gradcheck():
    torch.manual_seed(0)
    leaves = [torch.rand(shape, dtype=torch.float64, requires_grad=True) for shape in ((3, ), (4, 3), (4, 2))]

    def loss(shared, sample):
        assert sample[1] is None
        return (shared[0] * sample[0]).sin().sum() * sample[2].prod()

    assert torch.autograd.gradcheck(lambda w, a, b: sum_over_samples(loss, (w, ), (a, None, b)), leaves)


@pytest.mark.parametrize('stride, padding, dilation, kernel', [(1, 1, 1, 3), (2, 1, 1, 3), (1, 2, 2, 3), (1, 0, 1, 1)])
@pytest.mark.parametrize('bias', [False, True])
def test_direct_double_backward_passes_gradcheck(stride, padding, dilation, kernel, bias):
    torch.manual_seed(0)
    shapes = [(2, 2, 6, 7), (3, 2, kernel, kernel), (3, )]
    leaves = [torch.rand(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def convolution(x, w, b):
        with DirectDoubleBackward():
            return F.conv2d(x, w, b if bias else None, stride, padding, dilation)

    plain = F.conv2d(*leaves[:2], leaves[2] if bias else None, stride, padding, dilation)
    # A bias is added in a step of its own, which some CPUs round differently
    torch.testing.assert_close(convolution(*leaves), plain, rtol=1e-14 if bias else 0, atol=0)
    node = convolution(*leaves).grad_fn
    assert '_Conv2d' in type(node.next_functions[0][0] if bias else node).__name__
    leaves = leaves if bias else [*leaves[:2], leaves[2].detach()]
    assert torch.autograd.gradcheck(convolution, leaves)
    assert torch.autograd.gradgradcheck(convolution, leaves)


def test_direct_double_backward_leaves_other_convolutions_alone():
    x, w = torch.rand(1, 4, 5, 5), torch.rand(4, 1, 3, 3)
    with DirectDoubleBackward():
        torch.testing.assert_close(F.conv2d(x, w, groups=4, padding='same'), F.conv2d(x, w, groups=4, padding=1))


class OwnObjective:
    """One that uses no mask and prepares integers."""

    def prepare(self, net, y):
        return net.forward_features(y), y, torch.arange(2 * len(y)).view(len(y), 2)

    def loss(self, heads, prepared, mask):
        features, y, shifts = prepared
        assert shifts.shape == (len(y), 2)
        return (heads(features, y)[1] - y).square().mean()


def test_an_objective_of_ones_own_without_mask_and_with_integers():
    problem = Problem()
    problem.objective = OwnObjective()
    weights = list(problem.net.parameters())
    stored, *others = (gradients(ours_transfer(problem, 2, 'heads', *mode), weights)
                       for mode in (['stored'], ['replay']))
    assert_close(others[0], stored, range(99), 1e-9)
    assert stored_bytes(problem.net, problem.objective, problem.y, None, steps=1) > 0
    loss = ours_maxl(problem)
    assert loss > 0 and all((g == 0).all() for g in gradients(loss, list(problem.mask_net.parameters())))


def test_stored_bytes_grow_with_steps_and_image():
    problem = Problem()
    mask = problem.mask_net(problem.y)

    def measure(steps, size):
        return stored_bytes(problem.net, problem.objective, problem.y[..., :size], mask[..., :size], steps=steps)

    assert measure(2, 10) == 2 * measure(1, 10)
    assert 1.3 < measure(1, 10) / measure(1, 5) < 2.1
    # at least each convolution of the heads keeps its input and the gradient at its output
    assert measure(1, 10) > 2 * 2 * 9 * 10 * 8 * (6 + 6 + 6 + 6 + 6 + 6)


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
    for samples in ('one_by_one', 'together'):
        ours = ours_transfer(problem, 3, 'heads', 'first_order', samples=samples)
        assert_close(gradients(ours, list(names.values())), total, names, 1e-9)
        ours = ours_transfer(problem, 3, 'heads', 'first_order', samples=samples)
        assert all((g == 0).all() for g in gradients(ours, list(problem.mask_net.parameters())))


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
                        (ours_transfer(problem, 3, 'heads', 'replay', mask), naive_transfer(problem, 3, 'heads', mask)),
                        (ours_maxl(problem, mask=mask), naive_maxl(problem, mask=mask))):
        got, = gradients(ours, [mask])
        assert torch.isfinite(ours) and torch.isfinite(got).all() and got.abs().sum() > 0
        torch.testing.assert_close(got, *gradients(naive, [mask]), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize('meta_gradient, samples', EXACT)
def test_the_body_runs_once_a_step_when_heads_adapt(meta_gradient, samples):
    problem = Problem()
    calls = []
    problem.net.body.register_forward_hook(lambda *args: calls.append(1))
    ours_transfer(problem, 5, 'heads', meta_gradient, samples=samples).backward()
    assert len(calls) == 1


def test_wrong_choices_are_refused():
    problem = Problem()
    with pytest.raises(ValueError, match="meta_gradient must be one of stored, replay, first_order, not 'replayed'"):
        ours_transfer(problem, 1, 'heads', 'replayed')
    with pytest.raises(ValueError, match="samples must be one of one_by_one, together, not 'all'"):
        ours_transfer(problem, 1, 'heads', samples='all')
    with pytest.raises(ValueError, match='steps must be at least 1, not 0'):
        ours_transfer(problem, 0, 'heads')
    with pytest.raises(ValueError, match='rates of 2 steps, but steps is 3'):
        ours_transfer(problem, 3, 'heads', rates=InnerRates(problem.net, LR)(2))
    with pytest.raises(ValueError, match="learn_lr must be 'tensor' or 'parameter', not 'no'"):
        InnerRates(problem.net, LR, learn_lr='no')

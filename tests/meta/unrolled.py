"""A small problem in float64, and the meta-gradients by plain unrolled autograd through the whole network."""

import torch
import torch.nn.functional as F
from torch.func import functional_call

from maxl_sr.archs.multitask_arch import MultiTaskNet, ParallelMultiTaskNet
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.meta import maxl_loss, transfer_loss
from tests.helpers import tiny_mask_net
from tests.losses.references import NAIVE
from tests.losses.whole import Whole

LR, LAMBDA_IN = 0.05, 2.0
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


def naive_objective(problem, weights, y, mask, start=None):
    """L_aux of the whole network; `start`: the weights to which what is prepared belongs, if not those of the step."""
    trained = dict(problem.net.named_parameters())

    def first(x, at=weights if start is None else start):
        return naive_outputs(problem.net, at, x)[0].detach()

    net = Whole(lambda x: naive_outputs(problem.net, weights, x), first, lambda x: first(x, trained))
    return NAIVE[type(problem.objective)](problem.objective, net, y, mask)


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


def ours_transfer(problem, steps, params, meta_gradient='stored', mask=None, samples='one_by_one', rates=None,
                  unadapted_weight=0.0):
    return transfer_loss(problem.net, problem.objective, F.l1_loss, problem.y, problem.x,
                         problem.mask_net(problem.y) if mask is None else mask, steps=steps,
                         lr=LR if rates is None else None, rates=rates,
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

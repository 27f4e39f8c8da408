"""Networks, losses and meta-gradients on a GPU against the same on the CPU."""

import copy

import pytest
import torch
import torch.nn.functional as F
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY

from maxl_sr.archs.mask_arch import mask_of
from maxl_sr.archs.multitask_arch import MultiTaskNet, ParallelMultiTaskNet
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.meta import InnerRates, Objective, Task, replay, transfer_loss
from tests.gpu import DEVICE, exact_convolutions, moved  # noqa: F401
from tests.helpers import tiny_net
from tests.meta.unrolled import EXACT, LR, Problem, assert_close, gradients, ours_maxl, ours_transfer

pytestmark = pytest.mark.gpu

TINY_MIRNET = {'num_feat': 8, 'num_rrg': 1, 'num_msrb': 1, 'height': 2}
ARCHS = {
    'MultiTaskNet': {'num_feat': 8, 'feat_step': 4}, 'ParallelMultiTaskNet': {'num_feat': 8, 'feat_step': 4},
    'MIRNet': TINY_MIRNET, 'MaskNet': {'num_feat': 4}, 'FeatureMaskNet': {'num_feat': 4, 'num_net_feat': 4},
    'WithAuxiliaryHead': {'base': {'type': 'MIRNet', **TINY_MIRNET}, 'head': ['conv_out'], 'num_feat': 8},
}
# With noise that no objective leaves alone
OBJECTIVES = {
    'BlindSpotLoss': {}, 'MaskedReconstructionLoss': {}, 'Neighbor2NeighborLoss': {}, 'RecorruptionLoss': {},
    'RedegradationLoss': {'kernel_size': 5, 'tolerance': 1e9}, 'NoiseTransplantLoss': {'flatness': 1e9},
    'SURELoss': {'flatness': 1e9},
    'PhotographNoiseLoss': {'least_left': 0.0, 'most_spread': 1e9, 'most_rise': 1e9, 'side': 64},
    'LeftNoiseLoss': {'least_left': 0.0, 'most_spread': 1e9, 'most_rise': 1e9, 'least': 4},
    'SumObjective': {'objectives': [{'type': 'BlindSpotLoss'}, {'type': 'NoiseTransplantLoss', 'flatness': 1e9}]},
}
PAIR_LOSSES = {
    'MaskedReconstructionLoss': {'fixed_mask': 'high_frequency'}, 'PSNRLoss': {}, 'TwoDirectionGradientLoss': {},
    'SumLoss': {'losses': [{'type': 'L1Loss'}, {'type': 'PSNRLoss'}]}, 'MaskFloorLoss': {'floor': 0.9},
}
TOLERANCE = {torch.float32: 2e-3, torch.float64: 1e-8}


def noisy(size=64, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    smooth = F.interpolate(torch.rand(2, 3, 4, 4, generator=generator), size=(size, size), mode='bilinear')
    return (0.25 + smooth / 2 + 0.05 * torch.randn(smooth.shape, generator=generator)).clamp(0, 1).to(dtype)


def both(compute, *modules):
    """What a function of a device and modules returns on the CPU and on the GPU, the latter brought to the CPU."""
    results = []
    for device in ('cpu', DEVICE):
        found = compute(device, *(copy.deepcopy(module).to(device) for module in modules))
        assert all(tensor.device.type == device for tensor in found)
        results.append([tensor.detach().cpu() for tensor in found])
    return results


@pytest.mark.parametrize('arch', ARCHS)
def test_a_network_gives_the_same(arch):
    torch.manual_seed(0)
    net, other, y = ARCH_REGISTRY.get(arch)(**ARCHS[arch]), tiny_net(), noisy(33)

    def compute(device, net, other):
        x = y.to(device)
        out = mask_of(net, other, x) if 'MaskNet' in arch else net(x)
        outs = [out, *net.forward_heads(net.forward_features(x), x)] if hasattr(net, 'forward_heads') else [out]
        used = [weight for weight in net.parameters() if weight.requires_grad]
        return [*outs, *gradients(sum(out.square().mean() for out in outs), used)]

    cpu, gpu = both(compute, net, other)
    assert_close(gpu, cpu, range(999), 1e-4)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('params', ['heads', 'all'])
@pytest.mark.parametrize('loss', OBJECTIVES)
def test_an_objective_gives_the_same(loss, params, dtype):
    y = noisy(dtype=dtype)

    def compute(device, net, objective):
        assert isinstance(objective, Objective)
        mask = y.to(device).mean(1, keepdim=True)
        task = Task(net, objective, y.to(device), mask, params)
        value = task.objective(task.weights)
        return [value, *gradients(value, list(task.weights.values()))]

    objective = LOSS_REGISTRY.get(loss)(**OBJECTIVES[loss])
    cpu, gpu = both(compute, tiny_net(seed=0).to(dtype), objective)
    assert cpu[0] > 0
    assert_close(gpu, cpu, range(99), TOLERANCE[dtype])


@pytest.mark.parametrize('loss', PAIR_LOSSES)
def test_a_loss_of_two_images_gives_the_same(loss):
    image = noisy()

    def compute(device, loss):
        given = image.flip(-1).to(device).requires_grad_()
        value = loss(given, image.to(device))
        return [value, *gradients(value, [given])]

    cpu, gpu = both(compute, LOSS_REGISTRY.get(loss)(**PAIR_LOSSES[loss]))
    assert_close(gpu, cpu, range(9), 1e-5)


@pytest.mark.parametrize('params', ['heads', 'all', 'gains', 'input'])
@pytest.mark.parametrize('meta_gradient, samples', EXACT)
@pytest.mark.parametrize('learned', [False, True], ids=['fixed', 'learned'])
def test_meta_gradients_equal_those_of_the_cpu(meta_gradient, samples, params, learned):
    found = []
    for device in ('cpu', DEVICE):
        problem = moved(Problem(), device)
        rates = InnerRates(problem.net, LR, params, 'tensor', 2) if learned else None
        loss = ours_transfer(problem, 2, params, meta_gradient, samples=samples, rates=rates and rates(2),
                             unadapted_weight=0.5)
        weights = [*problem.weights(), *(rates.parameters() if learned else ())]
        found.append([grad.cpu() for grad in (loss.detach(), *gradients(loss, weights))])
    assert_close(found[1], found[0], range(99), 1e-9)


@pytest.mark.parametrize('arch', [MultiTaskNet, ParallelMultiTaskNet])
def test_the_gradient_of_the_mask_equals_that_of_the_cpu(arch):
    found = []
    for device in ('cpu', DEVICE):
        problem = moved(Problem(arch), device)
        loss = ours_maxl(problem)
        found.append([grad.cpu() for grad in (loss.detach(), *gradients(loss, list(problem.mask_net.parameters())))])
    assert_close(found[1], found[0], range(99), 1e-9)


@pytest.mark.parametrize('meta_gradient, samples', EXACT[::2])
@pytest.mark.parametrize('params', ['heads', 'all'])
def test_meta_gradients_in_autocast_are_near_float32(meta_gradient, samples, params):
    net = tiny_net(seed=0).to(DEVICE)
    y = noisy().to(DEVICE)
    found = []
    for enabled in (False, True):
        with torch.autocast(DEVICE, torch.bfloat16, enabled, cache_enabled=False):
            loss = transfer_loss(net, MaskedReconstructionLoss(), F.l1_loss, y, y.flip(-1), None, steps=3, lr=0.1,
                                 params=params, meta_gradient=meta_gradient, samples=samples)
        found.append(torch.cat([grad.flatten() for grad in gradients(loss, list(net.parameters()))]))
    assert F.cosine_similarity(*found, dim=0) > 0.99 and not torch.equal(*found)


def test_a_replayed_step_has_the_autocast_of_the_step():
    seen = []

    def loss(weights, inputs):
        seen.append((torch.is_autocast_enabled(DEVICE), torch.get_autocast_dtype(DEVICE)))
        return F.conv2d(inputs, weights['w']).square().mean()

    weight = torch.ones(2, 3, 1, 1, device=DEVICE, requires_grad=True)
    with torch.autocast(DEVICE, torch.bfloat16, cache_enabled=False):
        adapted = replay(loss, {'w': weight}, noisy().to(DEVICE), 2 * [{'w': 0.1}])
    adapted['w'].sum().backward()
    assert seen == 4 * [(True, torch.bfloat16)]


def peak(compute):
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    compute()
    return torch.cuda.max_memory_allocated() - before


def test_replay_takes_less_memory_than_stored():
    net = MultiTaskNet(num_feat=16, feat_step=8).to(DEVICE)
    y = noisy(192)[:1].to(DEVICE)

    def of(meta_gradient, steps):
        def compute():
            transfer_loss(net, MaskedReconstructionLoss(), F.l1_loss, y, y, None, steps=steps, lr=0.1,
                          meta_gradient=meta_gradient).backward()

        compute()  # what libraries take at first
        net.zero_grad()
        return peak(compute)

    stored, replayed = of('stored', 10), of('replay', 10)
    assert replayed < stored / 2
    assert replayed < 1.2 * of('replay', 3)

"""The meta-gradients in float64 against plain unrolled autograd through the whole network and finite differences."""

import pytest
import torch

from maxl_sr.meta import InnerRates
from tests.helpers import slow
from tests.meta.unrolled import (
    EXACT,
    LAMBDA_IN,
    LR,
    Problem,
    assert_close,
    finite_difference,
    gradients,
    naive_outputs,
    naive_space_transfer,
    naive_transfer,
    ours_transfer,
)


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
@pytest.mark.parametrize('learn_lr, per_step', [('tensor', True), ('parameter', False), *slow(
    ('tensor', False), ('parameter', True))])
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

"""What else the meta-gradients promise: frozen weights, objectives of ones own, memory, choices."""

import pytest
import torch

from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.meta import InnerRates, adaptable_weights, stored_bytes
from tests.meta.unrolled import (
    EXACT,
    LR,
    Problem,
    assert_close,
    finite_difference,
    gradients,
    naive_maxl,
    naive_transfer,
    ours_maxl,
    ours_transfer,
)


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

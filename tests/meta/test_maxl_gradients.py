"""Loop (b) of Algorithm 1 against double backward and finite differences."""

import pytest
import torch

from maxl_sr.archs.multitask_arch import MultiTaskNet, ParallelMultiTaskNet
from tests.meta.unrolled import Problem, assert_close, finite_difference, gradients, naive_maxl, ours_maxl


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

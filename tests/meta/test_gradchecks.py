"""The functions with a backward of their own, by torch's gradcheck."""

import pytest
import torch
import torch.nn.functional as F

from maxl_sr.meta import replay
from maxl_sr.meta.convolution import DirectDoubleBackward
from maxl_sr.meta.samples import sum_over_samples


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

"""Both losses against values computed by hand."""

import pytest
import torch
from basicsr.losses import build_loss
from torch import Tensor

import maxl_sr.losses.masked_reconstruction_loss as masked
from maxl_sr.losses.mask_floor_loss import MaskFloorLoss
from maxl_sr.losses.masked_reconstruction_loss import (
    MaskedReconstructionLoss,
    fixed_mask,
    masked_reconstruction_loss,
)
from maxl_sr.losses.two_direction_gradient_loss import TwoDirectionGradientLoss, two_direction_gradient_loss
from maxl_sr.meta import Objective, Task
from tests.helpers import tiny_net
from tests.losses.whole import Whole

PRED = torch.tensor([[[[1., 2.], [3., 4.]]]])
TARGET = torch.tensor([[[[0., 2.], [5., 1.]]]])  # differences 1 0 2 3
MASK = torch.tensor([[[[1., 1.], [0.5, 0.]]]])


def naive(loss: MaskedReconstructionLoss, net: Whole, y: Tensor, mask: Tensor) -> Tensor:
    """The objective of the paper, written out."""
    reconstruction = net.outputs(y)[1]
    if loss.per_mask:
        mask = mask / mask.mean((1, 2, 3), keepdim=True)
    return loss.loss_weight * ((reconstruction - y).abs() * mask).mean()


@pytest.mark.parametrize('criterion, mask, expected', [
    ('l1', None, 6 / 4), ('l1', MASK, 2 / 4), ('l2', None, 14 / 4), ('l2', MASK, 3 / 4), ('charbonnier', None, 6 / 4),
])
def test_masked_reconstruction_by_hand(criterion, mask, expected):
    assert masked_reconstruction_loss(PRED, TARGET, mask, criterion).item() == pytest.approx(expected, abs=1e-6)


def test_masked_reconstruction_reductions():
    assert masked_reconstruction_loss(PRED, TARGET, MASK, reduction='sum').item() == 2
    assert masked_reconstruction_loss(PRED, TARGET, MASK, reduction='none').flatten().tolist() == [1, 0, 1, 0]


def test_the_mean_is_over_the_elements_not_the_mask():
    pred, target = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    mask = torch.rand(2, 1, 4, 4)
    expected = ((pred - target).abs() * mask).sum() / (2 * 3 * 4 * 4)
    torch.testing.assert_close(masked_reconstruction_loss(pred, target, mask), expected)
    assert masked_reconstruction_loss(pred, target, torch.zeros_like(mask)).item() == 0
    torch.testing.assert_close(masked_reconstruction_loss(pred, target, torch.ones_like(mask)),
                               (pred - target).abs().mean())


def test_fixed_masks_by_hand():
    step = torch.zeros(1, 3, 5, 8)
    step[..., 4:] = 0.5
    edges = fixed_mask(step, 'edges')
    assert edges[0, 0, 2].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]
    high = fixed_mask(step, 'high_frequency')
    assert high.shape == (1, 1, 5, 8) and high.max() == 1 and high[0, 0, 2, 3] == high.max() and high[0, 0, 2, 0] < 0.1
    assert fixed_mask(step, 'none') is None
    for kind in ('edges', 'high_frequency'):
        assert (fixed_mask(torch.full((2, 3, 4, 4), 0.3), kind) <= 1e-3).all()
        assert fixed_mask(torch.rand(1, 3, 1, 1), kind).shape == (1, 1, 1, 1)


@pytest.mark.parametrize('kind', ['edges', 'high_frequency'])
def test_the_fixed_mask_is_that_of_the_target(kind):
    pred, target = torch.rand(2, 3, 9, 8, requires_grad=True), torch.rand(2, 3, 9, 8)
    loss = MaskedReconstructionLoss(fixed_mask=kind)
    torch.testing.assert_close(loss(pred, target), ((pred - target).abs() * fixed_mask(target, kind)).mean())
    own = torch.rand(2, 1, 9, 8)
    torch.testing.assert_close(loss(pred, target, own), ((pred - target).abs() * own).mean())  # a mask given wins
    with pytest.raises(ValueError, match="fixed_mask must be one of none, edges, high_frequency, not 'edge'"):
        MaskedReconstructionLoss(fixed_mask='edge')


def test_the_fixed_mask_of_an_objective_is_made_once_an_image(monkeypatch):
    calls = []
    monkeypatch.setattr(masked, 'fixed_mask', lambda *args: calls.append(1) or fixed_mask(*args))
    net, y = tiny_net(), torch.rand(2, 3, 8, 9)
    task = Task(net, MaskedReconstructionLoss(fixed_mask='edges'), y, None)
    reconstruction = net.forward_heads(net.forward_features(y), y)[1]
    expected = ((reconstruction - y).abs() * fixed_mask(y, 'edges')).mean()
    for _ in range(3):
        torch.testing.assert_close(task.objective(task.weights), expected)
    assert len(calls) == 1


def test_gradient_loss_by_hand():
    mask = torch.tensor([[[[0., 1.], [0.5, 1.]]]])
    image = torch.tensor([[[[0., 0.5], [0., 1.]]]])
    # Hx: |1 - 0.5|, |0.5 - 1| -> mean 0.5; Hy: |0.5 - 0|, |0 - 0.5| -> mean 0.5
    assert two_direction_gradient_loss(mask, image).item() == pytest.approx(1.0)
    assert two_direction_gradient_loss(mask, image, 'sum').item() == pytest.approx(2.0)
    none = two_direction_gradient_loss(mask, image, 'none')
    assert none.flatten().tolist() == pytest.approx([0.5 + 0.5, 0.5, 0.5, 0.0])


def test_gradient_loss_compares_a_mask_with_the_luma():
    mask, image = torch.rand(1, 1, 5, 6), torch.rand(1, 3, 5, 6)
    luma = 0.299 * image[:, :1] + 0.587 * image[:, 1:2] + 0.114 * image[:, 2:]
    torch.testing.assert_close(two_direction_gradient_loss(mask, image), two_direction_gradient_loss(mask, luma))


def test_gradient_loss_is_zero_for_the_image_itself_and_for_one_pixel():
    image = torch.rand(1, 1, 5, 6)
    assert two_direction_gradient_loss(image, image).item() == 0
    assert two_direction_gradient_loss(torch.rand(1, 1, 1, 1), torch.rand(1, 3, 1, 1)).item() == 0
    assert two_direction_gradient_loss(torch.rand(1, 1, 1, 5), torch.rand(1, 3, 1, 5)).item() > 0


@pytest.mark.parametrize('kind, arguments', [('MaskedReconstructionLoss', {'criterion': 'l2', 'reduction': 'sum'}),
                                             ('TwoDirectionGradientLoss', {'reduction': 'sum'})])
def test_modules_are_registered_and_weighted(kind, arguments):
    a, b = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    one = build_loss({'type': kind, **arguments})(a, b)
    torch.testing.assert_close(build_loss({'type': kind, 'loss_weight': 3.0, **arguments})(a, b), 3 * one)


def test_the_masked_loss_is_an_inner_objective():
    assert isinstance(MaskedReconstructionLoss(), Objective)
    assert not isinstance(build_loss({'type': 'L1Loss'}), Objective)


@pytest.mark.parametrize('call, message', [
    (lambda: masked_reconstruction_loss(PRED, TARGET[..., :1]), r'pred \(1, 1, 2, 2\) and target \(1, 1, 2, 1\)'),
    (lambda: masked_reconstruction_loss(PRED, TARGET, MASK[..., :1]), r'mask \(1, 1, 2, 1\) must have shape'),
    (lambda: two_direction_gradient_loss(MASK, torch.rand(1, 2, 2, 2)), r'mask \(1, 1, 2, 2\) and image \(1, 2'),
    (lambda: MaskedReconstructionLoss(criterion='l3'), "criterion must be one of l1, l2, charbonnier, not 'l3'"),
    (lambda: MaskedReconstructionLoss(reduction='max'), "reduction must be one of none, mean, sum, not 'max'"),
    (lambda: TwoDirectionGradientLoss(reduction='max'), "reduction must be one of none, mean, sum, not 'max'"),
])
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_loss_per_mask_does_not_depend_on_how_open_it_is():
    pred, target = torch.rand(2, 3, 5, 7).double(), torch.rand(2, 3, 5, 7).double()
    mask = torch.rand(2, 1, 5, 7).double()
    loss = MaskedReconstructionLoss(per_mask=True)
    expected = sum((abs(p - t) * m).sum() / (3 * m.sum()) for p, t, m in zip(pred, target, mask)) / 2
    torch.testing.assert_close(loss(pred, target, mask), expected)
    torch.testing.assert_close(loss(pred, target, 0.3 * mask), expected)
    assert loss(pred, target, 0 * mask) == 0


def test_the_floor_of_the_mask_by_hand():
    mask = torch.tensor([0.25, 0.75]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    assert MaskFloorLoss(2.0, floor=0.5)(mask, torch.rand(2, 3, 4, 4)).item() == 2 * 0.25 ** 2 / 2
    with pytest.raises(ValueError, match='floor must be from 0 to 1'):
        MaskFloorLoss(floor=1.5)

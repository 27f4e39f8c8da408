"""The masked reconstruction loss (arXiv 2207.02066, eq. 2)."""

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.losses.loss_util import REDUCTIONS, Reduction, check_choice, reduce
from maxl_sr.meta.bound import BoundNet
from maxl_sr.meta.objective import Heads

Criterion = Literal['l1', 'l2', 'charbonnier']
CRITERIA: tuple[str, ...] = get_args(Criterion)
FixedMask = Literal['none', 'edges', 'high_frequency']
FIXED_MASKS: tuple[str, ...] = get_args(FixedMask)


def fixed_mask(image: Tensor, kind: str) -> Tensor | None:
    """Return a mask ``(B, 1, H, W)`` in [0, 1] made from the image itself, where there is no mask network.

    Either is divided by its maximum in the image, or 0.001 if that is larger: a flat image gives 0.

    Args:
        image: ``(B, C, H, W)``.
        kind: 'edges' (gradient magnitude of the mean of the channels, central differences), 'high_frequency' (its
            distance from a Gaussian blur of σ = 1.5 pixels), or 'none', which gives None.

    Raises:
        ValueError: `kind` is none of these.
    """
    check_choice('fixed_mask', kind, FIXED_MASKS)
    if kind == 'none':
        return None
    grey = image.detach().mean(dim=1, keepdim=True)
    if kind == 'edges':
        padded = F.pad(grey, (1, 1, 1, 1), mode='replicate')
        dx, dy = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
        strength = torch.sqrt(dx ** 2 + dy ** 2)
    else:
        at = torch.arange(-4, 5, dtype=image.dtype, device=image.device)
        window = torch.exp(-at ** 2 / (2 * 1.5 ** 2))
        window = window / window.sum()
        padded = F.pad(grey, (4, 4, 4, 4), mode='replicate')
        with torch.autocast(image.device.type, enabled=False):  # it is a difference of nearly equal values
            blurred = F.conv2d(F.conv2d(padded, window.view(1, 1, 1, -1)), window.view(1, 1, -1, 1))
        strength = (grey - blurred).abs()
    return strength / strength.amax(dim=(2, 3), keepdim=True).clamp_min(1e-3)


def masked_reconstruction_loss(pred: Tensor, target: Tensor, mask: Tensor | None = None, criterion: str = 'l1',
                               reduction: str = 'mean', per_mask: bool = False) -> Tensor:
    """Distance between `pred` and `target` weighted by a mask: ``mean(|pred − target| ⊙ mask)``, eq. 2 of 2207.02066.

    The mean is over the number of elements, not over the sum of the mask: an all-zero mask gives 0, an all-one mask the
    plain loss.

    Args:
        pred: Prediction ``(B, C, H, W)``.
        target: Target ``(B, C, H, W)``.
        mask: Weights ``(B, 1, H, W)`` or ``(B, C, H, W)``; None is the plain loss.
        criterion: 'l1', 'l2' (squared difference) or 'charbonnier' (``sqrt(d² + 1e-12)``).
        reduction: 'none', 'mean' or 'sum'.
        per_mask: Whether the loss of every image is divided by the mean of its mask, or 0.001 if that is larger: then a
            mask says where to look, not how much.

    Raises:
        ValueError: Shapes do not match, or an argument is none of its choices.
    """
    check_choice('criterion', criterion, CRITERIA)
    if pred.shape != target.shape:
        raise ValueError(f'pred {tuple(pred.shape)} and target {tuple(target.shape)} must have the same shape')
    if criterion == 'l1':
        loss = F.l1_loss(pred, target, reduction='none')
    elif criterion == 'l2':
        loss = F.mse_loss(pred, target, reduction='none')
    else:
        loss = torch.sqrt((pred - target) ** 2 + 1e-12)
    if mask is not None:
        one_channel = (pred.shape[0], 1, *pred.shape[2:])
        if mask.shape not in (pred.shape, one_channel):
            raise ValueError(f'mask {tuple(mask.shape)} must have shape {tuple(pred.shape)} or {one_channel}')
        if per_mask:
            mask = mask / mask.mean((1, 2, 3), keepdim=True).clamp_min(1e-3)
        loss = loss * mask
    return reduce(loss, reduction)


class Reconstructed(NamedTuple):
    """What :class:`MaskedReconstructionLoss` prepares: features of y, y, and the fixed mask, if there is one."""

    features: Tensor
    y: Tensor
    mask: Tensor | None


@LOSS_REGISTRY.register()
class MaskedReconstructionLoss(nn.Module):
    """The paper's inner objective: how far the reconstructed input is from the input, weighted by the mask.

    ``loss_weight · mean |ŷ − y| ⊙ M``, see :func:`masked_reconstruction_loss`. As ``pixel_opt`` of any BasicSR model it
    compares the restored and the clean image (without a mask it is the plain loss).

    Args:
        loss_weight: Factor of the loss.
        reduction: 'mean' or 'sum' over the pixels; 'none' is not for a training.
        criterion: Distance of two values: absolute ('l1'), squared ('l2') or ``sqrt(d² + 1e-12)`` ('charbonnier').
        fixed_mask: The mask of a call that brings none, made from the target: its gradient ('edges'), its finest
            details ('high_frequency'), or no mask ('none').
        per_mask: Whether the loss of every image is divided by the mean of its mask.

    Raises:
        ValueError: An argument is none of its choices; in the call, shapes do not match.

    Examples:
        >>> import torch
        >>> image, mask = torch.ones(1, 3, 4, 4), torch.full((1, 1, 4, 4), 0.5)
        >>> MaskedReconstructionLoss()(torch.zeros(1, 3, 4, 4), image, mask)
        tensor(0.5000)
    """

    def __init__(self, loss_weight: float = 1.0, reduction: Reduction = 'mean', criterion: Criterion = 'l1',
                 fixed_mask: FixedMask = 'none', per_mask: bool = False) -> None:
        super().__init__()
        check_choice('reduction', reduction, REDUCTIONS)
        check_choice('criterion', criterion, CRITERIA)
        check_choice('fixed_mask', fixed_mask, FIXED_MASKS)
        self.fixed_mask, self.per_mask = fixed_mask, per_mask
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.criterion = criterion

    def forward(self, pred: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss of `pred` against `target`, both ``(B, C, H, W)``, with the mask of the function."""
        if mask is None:
            mask = fixed_mask(target, self.fixed_mask)
        return self.loss_weight * masked_reconstruction_loss(pred, target, mask, self.criterion, self.reduction,
                                                             self.per_mask)

    def prepare(self, net: BoundNet, y: Tensor) -> Reconstructed:
        """Return the image, its features and, with ``fixed_mask``, its mask."""
        return Reconstructed(net.forward_features(y), y, fixed_mask(y, self.fixed_mask))

    def loss(self, heads: Heads, prepared: Reconstructed, mask: Tensor | None) -> Tensor:
        """Return the loss between the reconstruction ŷ and the input y (L_aux)."""
        reconstruction = heads(prepared.features, prepared.y)[1]
        loss: Tensor = self(reconstruction, prepared.y, prepared.mask if mask is None else mask)
        return loss

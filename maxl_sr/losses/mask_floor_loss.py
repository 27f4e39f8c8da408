"""A floor under the mean of the mask, which keeps it from closing."""

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn


@LOSS_REGISTRY.register()
class MaskFloorLoss(nn.Module):
    """A mask should be open for a share of the image: ``loss_weight · mean max(floor − mean M, 0)²``; for ``mask_opt``.

    The inner mean is over the pixels of an image, the outer one over the images. Beside L_G, in a ``SumLoss``, it
    keeps a mask from going to 0 everywhere, which would end all adapting.

    Args:
        loss_weight: Factor of the loss.
        floor: The least mean of a mask, in [0, 1].

    Raises:
        ValueError: `floor` is out of range.

    Examples:
        >>> import torch
        >>> MaskFloorLoss(floor=0.5)(torch.full((1, 1, 4, 4), 0.25), torch.rand(1, 3, 4, 4))
        tensor(0.0625)
    """

    def __init__(self, loss_weight: float = 1.0, floor: float = 0.5) -> None:
        super().__init__()
        if not 0 <= floor <= 1:
            raise ValueError(f'floor must be from 0 to 1, not {floor!r}')
        self.loss_weight, self.floor = loss_weight, floor

    def forward(self, mask: Tensor, image: Tensor) -> Tensor:
        """Return the loss of a mask ``(B, C, H, W)``, whatever the image is."""
        lacking = (self.floor - mask.flatten(1).mean(1)).clamp_min(0)
        return self.loss_weight * lacking.square().mean()

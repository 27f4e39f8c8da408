"""Stein's unbiased risk estimate with the image's own noise: the error against the clean image, without this image."""

from typing import NamedTuple

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.losses.flat_noise import WINDOW, FlatNoise
from maxl_sr.losses.loss_util import check_window, local_mean, windows
from maxl_sr.meta import BoundNet
from maxl_sr.meta.objective import Heads, restore
from maxl_sr.settings.types import AtLeast2, Count, Index, Positive, PositiveOrInf, ShareAbove0


class Probed(NamedTuple):
    """What :class:`SURELoss` prepares.

    Attributes:
        features: Features of y.
        y: The image.
        moved_features: Features of y + ε n̂.
        moved: y + ε n̂.
        compared: y as x̂ is compared with it, of the local brightness of x̂.
        probe: n̂ without local brightness, for the product.
        scale: ``(B, 1, 1, 1)``: 1 over the variance of the noise; 0 where the image is left alone.
    """

    features: Tensor
    y: Tensor
    moved_features: Tensor
    moved: Tensor
    compared: Tensor
    probe: Tensor
    scale: Tensor


@LOSS_REGISTRY.register()
class SURELoss(nn.Module):
    """Inner objective for noise, and that of the guard: Stein's unbiased estimate of the error of the restored image.

    ``loss_weight / σ² · mean (|x̂(y) − y|² + 2 n̂ ⊙ (x̂(y + ε n̂) − x̂(y)) / ε) ⊙ M``. For Gaussian noise of any
    covariance, its mean is that of the squared error ``|x̂(y) − x|²`` plus the variance of the noise (Stein 1981; with
    a random probe n̂ for the divergence Ramani et al., IEEE TIP 2008), in units of this variance here. Only x̂ is
    needed, not x. The probe is noise of the image itself, cut out where it is flat
    (:func:`~maxl_sr.losses.flat_noise.transplant_noise`), so that it is correlated and depends on intensity as the
    noise of y does; σ² is its mean square.

    In y the local brightness is that of x̂(y) at the weights to begin with, and n̂ has none in the product: noise that
    was clipped at black or white has another mean than 0. An image without flat parts has the loss 0.

    Args:
        loss_weight: Factor of the loss.
        epsilon: Length ε of the probe, noise that is added once more, in units of the noise; greater than 0.
        window: The mean is over a quarter of the image, every second window of so many pixels, down and across, which
            the network gets pushed together; 0: over the whole image.
        ratio: How many times smaller the copy is by which flat parts are found, an integer of at least 2.
        block_size: Side of the blocks of noise, in pixels, at least 1; multiples of 8 keep the blocks of JPEG whole.
        share: Share of the blocks that count as flat, in (0, 1].
        candidates: Number of blocks, nearest in colour, from which one is drawn.
        flatness: An image is left alone where the mean square of the gradient in its flat blocks is more than so many
            times the variance of the noise, greater than 0; .inf: never.
        seed: Seed of the draw.

    Raises:
        ValueError: An argument is out of range.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.meta import Task, adapt
        >>> objective = SURELoss()
        >>> task = Task(MultiTaskNet(num_feat=8), objective, torch.rand(1, 3, 32, 32), mask=None)
        >>> for weights, loss in adapt(task, steps=2, lr=1e-3, optimizer='adam'):
        ...     pass
        >>> task.restored(weights).shape
        torch.Size([1, 3, 32, 32])
    """

    same_size = True  # x̂ and y are compared

    def __init__(self, loss_weight: float = 1.0, epsilon: Positive = 0.3, window: Index = 0, ratio: AtLeast2 = 2,
                 block_size: Count = 16, share: ShareAbove0 = 0.1, candidates: Count = 8,
                 flatness: PositiveOrInf = 0.15, seed: int = 1) -> None:
        super().__init__()
        if not epsilon > 0:
            raise ValueError(f'epsilon must be greater than 0, not {epsilon!r}')
        check_window(window)
        self.loss_weight, self.epsilon, self.window = loss_weight, epsilon, window
        self.noise = FlatNoise(ratio, block_size, share, candidates, flatness, seed)

    def prepare(self, net: BoundNet, y: Tensor) -> Probed:
        """Return the image and the same with the probe."""
        smooth = self.noise.clean_copy(net)[1]
        noisy, active = self.noise.transplant(y, smooth, smooth)
        probe = noisy - smooth
        probe = probe - probe.mean((-2, -1), keepdim=True)
        compared = y + local_mean(net.restored().detach().to(y.dtype).clamp(0, 1) - y, WINDOW)
        product = probe - local_mean(probe, WINDOW)
        y, probe, compared, product = (windows(image, self.window) for image in (y, probe, compared, product))
        moved = y + self.epsilon * probe
        scale = active / product.square().mean((1, 2, 3), keepdim=True).clamp_min(torch.finfo(y.dtype).tiny)
        return Probed(net.forward_features(y), y, net.forward_features(moved), moved, compared, product, scale)

    def loss(self, heads: Heads, prepared: Probed, mask: Tensor | None) -> Tensor:
        """Return the risk in units of the variance of the noise."""
        features, y, moved_features, moved, compared, probe, scale = prepared
        restored = restore(heads, features, y)
        slope = (restore(heads, moved_features, moved) - restored) / self.epsilon
        risk = scale * ((restored - compared).square() + 2 * probe * slope)
        return self.loss_weight * (risk if mask is None else risk * windows(mask, self.window)).mean()

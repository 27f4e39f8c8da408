"""Noise transplant objective: restore a clean, smaller copy of the image that got noise of the image's flat parts."""

import torch.nn.functional as F
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.losses.flat_noise import FlatNoise
from maxl_sr.losses.loss_util import check_choice, check_window, windows
from maxl_sr.losses.masked_reconstruction_loss import CRITERIA, Criterion
from maxl_sr.losses.pair_loss import Pair, pair_loss
from maxl_sr.meta import BoundNet
from maxl_sr.meta.objective import Heads
from maxl_sr.settings.types import AtLeast2, Count, Index, PositiveOrInf, ShareAbove0


@LOSS_REGISTRY.register()
class NoiseTransplantLoss(nn.Module):
    """Inner objective for noise that the network does not know: it learns to remove noise cut out of the image itself.

    ``loss_weight · mean |x̂(t + n̂) − t| ⊙ M``. t is the image reduced by `ratio`, in which the noise is weaker and
    less correlated, and restored; n̂ is noise of the image itself, cut out where it is flat
    (:func:`~maxl_sr.losses.flat_noise.transplant_noise`). So (t + n̂, t) is a pair with a clean image and with the
    noise of y, made of y alone, even where the network does not know this noise and leaves most of it in x̂(y). Blocks
    of noise were used to train a network from scratch in GCBD (Chen et al., CVPR 2018), reduced targets for blur in
    arXiv 1712.06087. With a copy of half the size a step costs a quarter of one on the whole image.

    Noise that was clipped at black or white shifts the brightness, which does not show in what is reduced. So t gets
    the local brightness of x̂(y) at the weights to begin with, and the mean of x̂ − t over an image does not count.

    An image without flat parts shows nothing of its noise: it is left alone, its loss is 0. t and n̂ are constants: no
    gradient passes through them. The mask is resized to t, which shows the same. The image restored must be of the size
    of y (scale 1).

    Args:
        loss_weight: Factor of the loss.
        criterion: Distance of two values: absolute ('l1'), squared ('l2') or ``sqrt(d² + 1e-12)`` ('charbonnier').
        window: The mean is over a quarter of the copy t, every second window of so many pixels, down and across, pushed
            together, which makes a step that much cheaper; 0: over all of t.
        ratio: How many times smaller than the image the copy t is, an integer of at least 2.
        block_size: Side of the blocks of noise, in pixels, at least 1; multiples of 8 keep the blocks of JPEG whole.
        share: Share of the blocks that count as flat, in (0, 1].
        candidates: Number of blocks, nearest in colour, from which one is drawn.
        flatness: An image is left alone where the mean square of the gradient in its flat blocks is more than so many
            times the variance of the noise, greater than 0; .inf: never.
        seed: Seed of the draw.

    Raises:
        ValueError: An argument is none of its choices or out of range.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.meta import Task, adapt
        >>> objective = NoiseTransplantLoss()
        >>> task = Task(MultiTaskNet(num_feat=8), objective, torch.rand(1, 3, 32, 32), mask=None)
        >>> for weights, loss in adapt(task, steps=2, lr=1e-3, optimizer='adam'):
        ...     pass
        >>> task.restored(weights).shape
        torch.Size([1, 3, 32, 32])
    """

    same_size = True  # x̂ and y are compared

    def __init__(self, loss_weight: float = 1.0, criterion: Criterion = 'l1', window: Index = 0, ratio: AtLeast2 = 2,
                 block_size: Count = 16, share: ShareAbove0 = 0.1, candidates: Count = 8,
                 flatness: PositiveOrInf = 0.15, seed: int = 0) -> None:
        super().__init__()
        check_choice('criterion', criterion, CRITERIA)
        check_window(window)
        self.loss_weight, self.criterion, self.window = loss_weight, criterion, window
        self.noise = FlatNoise(ratio, block_size, share, candidates, flatness, seed)

    def prepare(self, net: BoundNet, y: Tensor) -> Pair:
        """Return t + n̂ and t."""
        target, smooth = self.noise.clean_copy(net)
        copy, active = self.noise.transplant(y, smooth, target)
        copy, target = windows(copy, self.window), windows(target, self.window)
        return Pair(net.forward_features(copy), copy, target, active)

    def loss(self, heads: Heads, prepared: Pair, mask: Tensor | None) -> Tensor:
        """Return the loss between what is restored from t + n̂ and t, each of the same mean."""
        if mask is not None:
            sides = [max(side // self.noise.ratio, 1) for side in mask.shape[-2:]]
            mask = windows(F.interpolate(mask, sides, mode='bilinear', align_corners=False), self.window)
        return self.loss_weight * pair_loss(heads, prepared, mask, self.criterion, centred=True)

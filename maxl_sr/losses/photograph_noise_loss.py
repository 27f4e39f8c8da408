"""Photograph noise objective: restore clean photographs that got the noise of the image's flat parts."""

import functools

import cv2
import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.losses.flat_noise import with_noise
from maxl_sr.losses.left_noise import check_blocks, flat_blocks_of
from maxl_sr.losses.loss_util import check_choice, check_integer
from maxl_sr.losses.masked_reconstruction_loss import CRITERIA, Criterion
from maxl_sr.losses.pair_loss import Pair, pair_loss
from maxl_sr.meta import BoundNet
from maxl_sr.meta.objective import Heads
from maxl_sr.utils.packaged import PACKAGE

GREY = 1 / 512  # images whose channels differ by less are grey


@functools.cache
def _photographs() -> Tensor:
    image = cv2.imread(str(PACKAGE / 'photographs' / 'clean.png'))
    assert image is not None
    return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1).unsqueeze(0)


@LOSS_REGISTRY.register()
class PhotographNoiseLoss(nn.Module):
    """Inner objective for noise that the network does not know: it learns to take it off clean photographs.

    ``loss_weight · mean |x̂(t + n̂) − t|``. t are parts of clean photographs that come with the package, n̂ is noise of
    the image itself, cut out where it is flat (:func:`~maxl_sr.losses.left_noise.flat_blocks`). So (t + n̂, t) is a pair
    with a clean image and the noise of y, whatever its kind. Compared with
    :class:`~maxl_sr.losses.noise_transplant_loss.NoiseTransplantLoss` the noise does not depend on how well the network
    removes it, t has none of it, and a step costs the same for an image of any size.

    Where the network leaves less than `least_left` of the noise, it knows this noise. Where the strength of the noise
    differs by more than `most_spread` among the flat blocks, or the share of it that is left rises by more than
    `most_rise` among the flattest tenth of all blocks, it may as well be texture. Such an image is left alone, the loss
    is 0.

    The mean of x̂ − t over a photograph does not count. Grey images get grey photographs. t and n̂ are constants: no
    gradient passes through them. The mask does not apply, since t is not the image. The image restored must be of the
    size of y (scale 1) and of three channels.

    Args:
        loss_weight: Factor of the loss.
        criterion: Distance of two values: absolute ('l1'), squared ('l2') or ``sqrt(d² + 1e-12)`` ('charbonnier').
        least_left: Share of the noise of flat parts, in [0, 1], of which the network must leave more.
        most_spread: How much its strength may differ among the flat blocks: standard deviation of its mean square, as a
            part of the mean; at least 0.
        most_rise: How much more of it, as a factor of at least 1, may be left at the flattest tenth of the blocks than
            at the flattest fiftieth.
        block_size: Side of the blocks of noise, in pixels, at least 3.
        least: Number of blocks that are taken in any case, at least 2.
        candidates: Number of blocks, nearest in colour, from which one is drawn, at least 1.
        side: Side in pixels of the part of the photographs that is used, from 1 to 256; the time of a step
            grows with its square.
        seed: Seed of the draw.

    Raises:
        ValueError: An argument is none of its choices or out of range.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.meta import Task, adapt
        >>> task = Task(MultiTaskNet(num_feat=8), PhotographNoiseLoss(), torch.rand(1, 3, 64, 64), mask=None)
        >>> for weights, loss in adapt(task, steps=2, lr=1e-3, optimizer='adam'):
        ...     pass
        >>> task.restored(weights).shape
        torch.Size([1, 3, 64, 64])
    """

    same_size = True  # x̂ and y are compared
    photographs: Tensor

    def __init__(self, loss_weight: float = 1.0, criterion: Criterion = 'l1', least_left: float = 0.1,
                 most_spread: float = 0.3, most_rise: float = 1.2, block_size: int = 16, least: int = 16,
                 candidates: int = 8, side: int = 128, seed: int = 0) -> None:
        super().__init__()
        check_choice('criterion', criterion, CRITERIA)
        check_blocks(block_size, least, least_left, most_spread, most_rise)
        check_integer('candidates', candidates, 1)
        check_integer('seed', seed)
        self.loss_weight, self.criterion = loss_weight, criterion
        self.least_left, self.most_spread, self.most_rise = least_left, most_spread, most_rise
        self.block_size, self.least, self.candidates, self.seed = block_size, least, candidates, seed
        photographs = _photographs()
        if type(side) is not int or not 1 <= side <= photographs.shape[-1]:
            raise ValueError(f'side must be an integer from 1 to {photographs.shape[-1]}, not {side!r}')
        self.register_buffer('photographs', photographs[..., :side, :side].clone(), persistent=False)

    def prepare(self, net: BoundNet, y: Tensor) -> Pair:
        """Return t + n̂ and t."""
        found = flat_blocks_of(net, self.block_size, self.least)
        target = self.photographs.to(y.dtype).div(255).expand(len(y), -1, -1, -1)
        grey = (y - y.mean(1, keepdim=True)).abs().amax((1, 2, 3), keepdim=True) < GREY
        target = torch.where(grey, target.mean(1, keepdim=True), target)
        copy = with_noise(target, found.noise, found.colour, found.flat, min(self.block_size, *y.shape[-2:]),
                          min(self.candidates, self.least), self.seed)
        active = found.unknown(self.least_left, self.most_spread, self.most_rise).view(-1, 1, 1, 1)
        return Pair(net.forward_features(copy), copy, target, active)

    def loss(self, heads: Heads, prepared: Pair, mask: Tensor | None) -> Tensor:
        """Return the loss between what is restored from t + n̂ and t, each of the same mean."""
        return self.loss_weight * pair_loss(heads, prepared, None, self.criterion, centred=True)

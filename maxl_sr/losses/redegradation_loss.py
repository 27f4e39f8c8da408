"""Redegradation objective: restore a sharp copy of the image that was blurred as the image itself."""

from typing import Literal, get_args

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.losses.blur_kernel import blur, estimate_kernel, widen_kernel
from maxl_sr.losses.loss_util import check_choice, check_integer, reduced
from maxl_sr.losses.masked_reconstruction_loss import CRITERIA, Criterion
from maxl_sr.losses.pair_loss import Pair, pair_loss
from maxl_sr.meta import BoundNet
from maxl_sr.meta.objective import Heads
from maxl_sr.settings.types import AtLeast2, AtLeast3, NotNegative, Positive

Downsample = Literal['bicubic', 'direct']
DOWNSAMPLES: tuple[str, ...] = get_args(Downsample)
Estimate = Literal['copy', 'image']
ESTIMATES: tuple[str, ...] = get_args(Estimate)


@LOSS_REGISTRY.register()
class RedegradationLoss(nn.Module):
    """Inner objective for blur: a sharp copy of the image is degraded as the image was, and is restored.

    ``loss_weight · mean |x̂(k̂ ∗ t ↓) − t| ⊙ M``. t is a sharp image `ratio` times smaller than the restored one, k̂ an
    estimate of the blur of y: (k̂ ∗ t ↓, t) is a pair with a ground truth and with the blur of y, made of y alone. It
    is what zero-shot super-resolution (arXiv 1712.06087, 2002.12213) learns from, with a sharp target and without
    knowing the kernel. The kernel between two images is that of least squares. `estimate` says where from:

    - 'image', for blur of a kind that the network was trained on: k̂ is the kernel between x̂ and y, t is x̂ reduced.
    - 'copy', for blur wider than any in training: on a copy of y that is `ratio` times smaller, the blur is `ratio`
      times narrower, so that the network can restore it. The copy restored is t, the kernel between the two, widened by
      `ratio`, is k̂. It is of use only where the network fails, so it must pass a test by simulation (indirect
      inference): t is degraded by k̂ and restored, and the kernel between these two must make of x̂ what the one between
      x̂ and y makes of it, to `tolerance` over what is unavoidable (the same with that kernel in place of k̂).
      Otherwise the network knows the blur, and the image is left alone: its loss is 0. The images are compared by the
      root mean square of their difference over that of their gradient: a shift by so many pixels makes as much. A
      network that was trained without any blur makes nothing of this test.

    t, k̂ and the test are constants: no gradient passes through them. The mask is resized to t, which shows the same.
    The network must take images of any size: one that wants multiples of a window (SwinIR) does not serve.

    Args:
        loss_weight: Factor of the loss.
        criterion: Distance of two values: absolute ('l1'), squared ('l2') or ``sqrt(d² + 1e-12)`` ('charbonnier').
        ratio: How many times smaller the copy is, an integer of at least 2.
        estimate: What the blur is estimated from: 'copy', for blur wider than any in training, or 'image', for blur of
            a kind that was trained on.
        kernel_size: Side K of the estimated kernel, an odd number of pixels of the restored image, at least 3; with
            'copy' it is widened to ``ratio · (K − 1) + 1`` pixels afterwards.
        downsample: How the copy is made: as the images were sub-sampled, 'direct' (every `ratio`-th pixel) or
            'bicubic' (with anti-aliasing); for deblurring 'bicubic'.
        ridge: Regularisation of the estimate, greater than 0; see :func:`~maxl_sr.losses.blur_kernel.estimate_kernel`.
        tolerance: With 'copy': an image is left alone where the estimate is off by so many pixels more than is
            unavoidable; at least 0.

    Raises:
        ValueError: An argument is none of its choices or out of range.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.meta import Task, adapt
        >>> objective = RedegradationLoss(kernel_size=5)
        >>> task = Task(MultiTaskNet(num_feat=8), objective, torch.rand(1, 3, 32, 32), mask=None)
        >>> for weights, loss in adapt(task, steps=2, lr=1e-3, optimizer='adam'):
        ...     pass
        >>> task.restored(weights).shape
        torch.Size([1, 3, 32, 32])
    """

    def __init__(self, loss_weight: float = 1.0, criterion: Criterion = 'l1', ratio: AtLeast2 = 2,
                 estimate: Estimate = 'copy', kernel_size: AtLeast3 = 13, downsample: Downsample = 'bicubic',
                 ridge: Positive = 3e-3, tolerance: NotNegative = 0.04) -> None:
        super().__init__()
        check_choice('criterion', criterion, CRITERIA)
        check_choice('estimate', estimate, ESTIMATES)
        check_choice('downsample', downsample, DOWNSAMPLES)
        check_integer('ratio', ratio, 2)
        if type(kernel_size) is not int or kernel_size < 3 or not kernel_size % 2:
            raise ValueError(f'kernel_size must be an odd integer of at least 3, not {kernel_size!r}')
        if not ridge > 0:
            raise ValueError(f'ridge must be greater than 0, not {ridge!r}')
        if not tolerance >= 0:
            raise ValueError(f'tolerance must be at least 0, not {tolerance!r}')
        self.loss_weight, self.criterion = loss_weight, criterion
        self.ratio, self.estimate, self.kernel_size, self.downsample = ratio, estimate, kernel_size, downsample
        self.ridge, self.tolerance = ridge, tolerance

    def prepare(self, net: BoundNet, y: Tensor) -> Pair:
        """Return the degraded copy and t."""
        # With its graph: the network keeps its restored image of y, which the primary loss may need
        restored = net.restored().detach().to(y.dtype).clamp(0, 1)
        if self.estimate == 'image':
            copy, target = self._from_image(y, restored)
            active = y.new_ones(len(y), 1, 1, 1)
        else:
            copy, target, active = self._from_copy(net, y, restored)
        return Pair(net.forward_features(copy), copy, target, active)

    def loss(self, heads: Heads, prepared: Pair, mask: Tensor | None) -> Tensor:
        """Return the loss between the image restored from the degraded copy and t."""
        return self.loss_weight * pair_loss(heads, prepared, mask, self.criterion)

    def _kernel(self, sharp: Tensor, degraded: Tensor) -> Tensor:
        return estimate_kernel(sharp, degraded, self.kernel_size, self.ridge)

    @torch.no_grad()
    def _from_image(self, y: Tensor, restored: Tensor) -> tuple[Tensor, Tensor]:
        scale = restored.shape[-1] // y.shape[-1]
        target = reduced(restored, self.ratio, multiple=scale)
        return blur(target, self._kernel(restored, y), scale).clamp(0, 1), target

    @torch.no_grad()
    def _from_copy(self, net: BoundNet, y: Tensor, restored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        def restore(image: Tensor) -> Tensor:  # detached from a forward-mode derivative as well
            return net.restored(image).detach().to(y.dtype).clamp(0, 1)

        scale = restored.shape[-1] // y.shape[-1]
        known = self._kernel(restored, y)
        direct = self.downsample == 'direct'
        small = y[..., ::self.ratio, ::self.ratio].contiguous() if direct else reduced(y, self.ratio)
        sharp = restore(small)
        kernel = widen_kernel(self._kernel(sharp, small), self.ratio)
        reference = blur(restored, known, scale)
        gradient = [reference.diff(dim=dim).pow(2).mean(dim=(1, 2, 3), keepdim=True) for dim in (-2, -1)]
        contrast = (gradient[0] + gradient[1]).nan_to_num().sqrt()  # NaN: of an image one pixel wide

        def simulated(by: Tensor) -> tuple[Tensor, Tensor]:
            copy = blur(sharp, by, scale).clamp(0, 1)
            again = blur(restored, self._kernel(restore(copy), copy), scale)
            return copy, (again - reference).pow(2).mean(dim=(1, 2, 3), keepdim=True).sqrt()

        copy, distance = simulated(kernel)
        other, unavoidable = simulated(known)
        active = distance < unavoidable + self.tolerance * contrast
        return torch.where(active, copy, other), sharp, active.to(y.dtype)

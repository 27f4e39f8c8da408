"""An image restored before and after adaptation, in a validation or test."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from basicsr.utils import tensor2img
from torch import Tensor, nn

from maxl_sr.adaptation import Adapter
from maxl_sr.archs.mask_arch import mask_of
from maxl_sr.archs.probing import fitted
from maxl_sr.meta.network import Traits


@dataclass(frozen=True)
class Adapted:
    """An image that was adapted to.

    Attributes:
        output: The restored image ``(1, C, sH, sW)``.
        before: The one at the trained weights.
        mask: The mask; None: there is no mask network.
        after_step: The one after every step, 8-bit BGR, where they were asked for.
        guard_step: The step that the guard chose; None: there is no guard.
        seconds: Time that the adaptation and the restored image took.
    """

    output: Tensor
    before: Tensor
    mask: Tensor | None
    after_step: list[np.ndarray]
    guard_step: int | None
    seconds: float


@contextmanager
def evaluating(*nets: nn.Module | None) -> Iterator[None]:
    """Put the networks into evaluation mode without gradients, and back into the mode that they were in."""
    modes = [(net, net.training) for net in nets if net is not None]
    for net, _ in modes:
        net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for net, mode in modes:
            net.train(mode)


def _now(device: torch.device) -> float:
    if device.type == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter()


def _fitted(net: nn.Module, image: Tensor) -> Tensor:
    """Return the image ``(B, C, H, W)`` mirrored at the right and below, to sides that the network halves exactly.

    Otherwise its levels lie a part of a pixel apart. :class:`~maxl_sr.Restorer` mirrors, too.
    """
    multiple = Traits(net).multiple
    return fitted(image, multiple) if any(side % multiple for side in image.shape[-2:]) else image


def _cropped(image: Tensor, like: Tensor, scale: int = 1) -> Tensor:
    """Return an image without what :func:`_fitted` added to `like`, of which it is `scale` times the size."""
    return image[..., :scale * like.shape[-2], :scale * like.shape[-1]]


def restored(net: nn.Module, lq: Tensor) -> Tensor:
    """Return the image ``(B, C, sH, sW)`` that the network makes of `lq` ``(B, C, H, W)``, in evaluation mode."""
    with evaluating(net):
        return _cropped(net(_fitted(net, lq)), lq, Traits(net).scale)


def adapted(adapter: Adapter, net: nn.Module, mask_net: nn.Module | None, lq: Tensor, pictures: bool) -> Adapted:
    """Adapt `net`, which is left as it is, to the image `lq` ``(1, C, H, W)``.

    Args:
        adapter: How.
        net: The network.
        mask_net: The mask network, or None.
        lq: The image.
        pictures: Whether the image is restored after every step; that is no part of the method, nor of its time.
    """
    whole, scale = lq, Traits(net).scale
    with evaluating(net, mask_net):
        start, of_pictures = _now(lq.device), 0.0
        lq = _fitted(net, lq)
        mask = None if mask_net is None else mask_of(mask_net, net, lq)
        found = adapter.adapt(net, lq, mask)
        after_step = []
        for weights, _ in found:
            if pictures:
                began = _now(lq.device)
                after_step.append(tensor2img([_cropped(found.task.restored(weights), whole, scale)]))
                of_pictures += _now(lq.device) - began
        output = _cropped(found.restored(), whole, scale)
        seconds = _now(lq.device) - start - of_pictures
        before = _cropped(found.bound.restored(), whole, scale)
        return Adapted(output, before, None if mask is None else _cropped(mask, whole), after_step,
                       found.step if found.guarded else None, seconds)

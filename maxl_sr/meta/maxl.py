"""Algorithm 1 of arXiv 2207.02066: meta-auxiliary learning."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import jvp

from maxl_sr.meta.autocast import backward
from maxl_sr.meta.bound import BoundNet
from maxl_sr.meta.objective import Objective
from maxl_sr.meta.samples import gradients
from maxl_sr.meta.space import adaptable_weights
from maxl_sr.meta.types import Weights

PixelLoss = Callable[[Tensor, Tensor], Tensor]


def primary_and_auxiliary_loss(net: nn.Module, objective: Objective | None, pixel_loss: PixelLoss, y: Tensor, x: Tensor,
                               mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return L_pri and L_aux (0 without an objective) of one pass through the network; loop (a) minimises their sum.

    Examples:
        >>> import torch
        >>> import torch.nn.functional as F
        >>> from maxl_sr.archs.mask_arch import MaskNet
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
        >>> net, mask_net = MultiTaskNet(num_feat=8, feat_step=4), MaskNet(num_feat=4)
        >>> y, x = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
        >>> losses = primary_and_auxiliary_loss(net, MaskedReconstructionLoss(), F.l1_loss, y, x, mask=None)
        >>> torch.stack(losses).sum().backward()
    """
    bound = BoundNet(net, y)
    auxiliary = y.new_zeros(()) if objective is None else objective.loss(bound, objective.prepare(bound, y), mask)
    return pixel_loss(bound.restored(), x), auxiliary


def maxl_loss(net: nn.Module, objective: Objective, pixel_loss: PixelLoss, y: Tensor, x: Tensor, mask: Tensor, *,
              lr: float, average: Callable[[list[Tensor]], None] = lambda tensors: None) -> Tensor:
    """Return ``L_pri(θ1⁺)`` with ``θ1⁺ = θ1 − lr ∇θ1 (L_pri + L_aux)`` as a function of the mask, for loop (b).

    Its backward pass reaches the mask only, and needs no second-order graph: with ``v = ∇L_pri(θ1⁺)``,

        ∂L_pri(θ1⁺)/∂M = −lr ∂/∂M ⟨∇θ1 L_aux(θ1, M), v⟩,

    and the inner product is the derivative of L_aux in the direction v: one forward-mode product, whose only graph is
    the one to M.

    Args:
        net: Multi-task network θ1; gets no gradient.
        objective: L_aux.
        pixel_loss: L_pri, called with (restored, clean).
        y: Degraded images ``(B, C, H, W)`` in [0, 1].
        x: Clean images of the size of the restored ones.
        mask: ``g(y)``, ``(B, 1, H, W)``, with its graph.
        lr: Rate α of the virtual step.
        average: Replaces tensors by their mean over all processes, in place.

    Examples:
        >>> import torch
        >>> import torch.nn.functional as F
        >>> from maxl_sr.archs.mask_arch import MaskNet
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
        >>> net, mask_net = MultiTaskNet(num_feat=8, feat_step=4), MaskNet(num_feat=4)
        >>> y, x = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
        >>> mask = mask_net(y)
        >>> maxl_loss(net, MaskedReconstructionLoss(), F.l1_loss, y, x, mask, lr=1e-3).backward()
        >>> all(weight.grad is not None for weight in mask_net.parameters())
        True
    """
    fixed = mask.detach()
    names, weights = zip(*adaptable_weights(net, 'all').items())

    def gradient(loss: Tensor, at: tuple[Tensor, ...]) -> list[Tensor]:
        with backward(loss):
            grads = list(torch.autograd.grad(loss, at, materialize_grads=True))
        average(grads)
        return grads

    l_pri, l_aux = primary_and_auxiliary_loss(net, objective, pixel_loss, y, x, fixed)
    step = gradient(l_pri + l_aux, weights)
    virtual = tuple((weight - lr * g).detach().requires_grad_() for weight, g in zip(weights, step))
    outer = pixel_loss(BoundNet(net, y, dict(zip(names, virtual))).restored(), x)
    direction = gradient(outer, virtual)

    with torch.enable_grad():
        leaf = fixed.clone().requires_grad_()

        def auxiliary(at: Weights) -> Tensor:
            bound = BoundNet(net, y, at)
            return objective.loss(bound, objective.prepare(bound, y), leaf)

        at = {name: weight.detach() for name, weight in zip(names, weights)}
        derivative = jvp(auxiliary, (at, ), (dict(zip(names, direction)), ))[1]
        slope = gradients(derivative, (leaf, ))[0]
    if slope is None:  # an objective without the mask
        slope = torch.zeros_like(fixed)
    # The value is L_pri(θ1⁺); the second term is 0 and carries the gradient.
    return outer.detach() + ((mask - fixed) * (-lr * slope)).sum()

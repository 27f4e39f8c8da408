"""Algorithm 2 of arXiv 2207.02066: meta-transfer learning."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from maxl_sr.meta.adapt import Task, inner_loop
from maxl_sr.meta.bound import BoundNet
from maxl_sr.meta.objective import Objective

META_GRADIENTS = ('stored', 'first_order')


def transfer_loss(net: nn.Module, objective: Objective, pixel_loss: Callable[[Tensor, Tensor], Tensor], y: Tensor,
                  x: Tensor, mask: Tensor | None, *, steps: int, lr: float, loss_weight: float = 1.0,
                  params: str = 'heads', meta_gradient: str = 'stored') -> Tensor:
    """Return the outer loss ``Σ_samples L_pri(θ_body, θ'_K)``, whose backward pass goes through the inner steps.

    For every sample ``θ'_0 = θ`` and ``θ'_k = θ'_{k−1} − lr · loss_weight · ∇θ' L_aux(θ'_{k−1})``. The features of the
    body do not depend on θ' when the heads alone adapt: they are computed once, for the whole batch, as is the mask.

    Args:
        net: Multi-task network θ1.
        objective: L_aux.
        pixel_loss: L_pri, called with (restored, clean) of one sample.
        y: Degraded images ``(B, C, H, W)`` in [0, 1].
        x: Clean images of the size of the restored ones.
        mask: ``g(y)``, ``(B, 1, H, W)``, with its graph; or None.
        steps: Number of inner steps K.
        lr: Inner rate α.
        loss_weight: λ_in.
        params: What adapts: 'heads' or 'all'.
        meta_gradient: 'stored' (exact, keeps the graphs of the K steps) or 'first_order' (the gradient at the adapted
            weights; none reaches the mask).

    Raises:
        ValueError: An argument is none of its choices, or `steps` is below 1.
    """
    if meta_gradient not in META_GRADIENTS:
        raise ValueError(f'meta_gradient must be one of {", ".join(META_GRADIENTS)}, not {meta_gradient!r}')
    if steps < 1:
        raise ValueError(f'steps must be at least 1, not {steps}')
    features = BoundNet(net, y).forward_features(y) if params == 'heads' else None
    losses = []
    for index in range(len(y)):
        sample = slice(index, index + 1)
        task = Task(net, objective, y[sample], None if mask is None else mask[sample], params,
                    None if features is None else features[sample])
        *_, (weights, _) = inner_loop(task.objective, task.weights, steps, lr * loss_weight, meta_gradient == 'stored')
        losses.append(pixel_loss(task.restored(weights), x[sample]))
    return torch.stack(losses).sum()

"""Algorithm 2 of arXiv 2207.02066: meta-transfer learning."""

from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from maxl_sr.meta.adapt import inner_loop
from maxl_sr.meta.convolution import DirectDoubleBackward
from maxl_sr.meta.objective import Objective
from maxl_sr.meta.rates import rates_of
from maxl_sr.meta.replay import replay
from maxl_sr.meta.samples import one_for_each, sum_over_samples, together
from maxl_sr.meta.task import Task
from maxl_sr.meta.types import Inputs, Rates, Weights

META_GRADIENTS = ('stored', 'replay', 'first_order')
SAMPLES = ('one_by_one', 'together')


def adapted_weights(loss: Callable[[Weights, Any], Tensor], weights: Weights, inputs: Any, rates: Rates,
                    meta_gradient: str) -> Weights:
    """Return ``θ'_K`` of the inner loop on ``loss(weights, inputs)``, with its meta-gradient.

    Args:
        loss: The scalar inner loss.
        weights: θ'_0.
        inputs: What else the loss depends on: tensors or None, in dictionaries, lists and tuples.
        rates: α of every step.
        meta_gradient: 'stored' (exact, keeps the graphs of the K steps), 'replay' (exact, keeps the K weights and
            computes each step again on the way back) or 'first_order' (the identity from θ'_0 to θ'_K).

    Raises:
        ValueError: `meta_gradient` is none of these.
    """
    if meta_gradient not in META_GRADIENTS:
        raise ValueError(f'meta_gradient must be one of {", ".join(META_GRADIENTS)}, not {meta_gradient!r}')
    if meta_gradient == 'replay':
        return replay(loss, weights, inputs, rates)
    steps = inner_loop(lambda at: loss(at, inputs), weights, rates, meta_gradient == 'stored')
    return deque(steps, maxlen=1).pop()[0]


def transfer_loss(net: nn.Module, objective: Objective, pixel_loss: Callable[[Tensor, Tensor], Tensor], y: Tensor,
                  x: Tensor, mask: Tensor | None, *, steps: int, lr: float | None = None, rates: Rates | None = None,
                  loss_weight: float = 1.0, params: str = 'heads', meta_gradient: str = 'stored',
                  samples: str = 'one_by_one', unadapted_weight: float = 0.0) -> Tensor:
    """Return ``Σ_samples L_pri(θ_body, θ'_K) + w · L_pri(θ_body, θ'_0)``, the outer loss, with its meta-gradient.

    For every sample ``θ'_0 = θ`` and ``θ'_k = θ'_{k−1} − α_k · loss_weight · ∇θ' L_aux(θ'_{k−1})``. The features of the
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
        rates: In place of `lr`: the rates of every step by the name of the weight; these get a gradient, too, if they
            are tensors that want one.
        loss_weight: λ_in.
        params: What adapts: 'heads', 'all', 'gains' or 'input'.
        meta_gradient: 'stored', 'replay' or 'first_order', see :func:`adapted_weights`.
        samples: 'one_by_one' (the graph of one sample at a time) or 'together' (few large kernels, for a GPU).
        unadapted_weight: w, the weight of the loss before the first step, for a network that shall be good un-adapted,
            too; the loss of every step is a part of MAML++ (Antoniou et al., ICLR 2019).

    Raises:
        ValueError: An argument is none of its choices, or `steps` is below 1.

    Examples:
        >>> import torch
        >>> import torch.nn.functional as F
        >>> from maxl_sr.archs.mask_arch import MaskNet
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
        >>> net, mask_net = MultiTaskNet(num_feat=8, feat_step=4), MaskNet(num_feat=4)
        >>> y, x = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
        >>> loss = transfer_loss(net, MaskedReconstructionLoss(), F.l1_loss, y, x, mask_net(y), steps=3, lr=0.1)
        >>> loss.backward()
        >>> all(weight.grad is not None for weight in net.parameters())
        True
    """
    if samples not in SAMPLES:
        raise ValueError(f'samples must be one of {", ".join(SAMPLES)}, not {samples!r}')
    if steps < 1:
        raise ValueError(f'steps must be at least 1, not {steps}')
    task = Task(net, objective, y, mask, params)
    rates = rates_of(task.weights, steps, lr, rates)
    # Weights that do not adapt, for a network whose heads read them: they get their gradient, too
    fixed: Weights = {name: weight for name, weight in net.named_parameters() if name not in task.weights}
    outer = _Outer(task, fixed, rates, pixel_loss, loss_weight, meta_gradient, unadapted_weight)
    return outer.together(x) if samples == 'together' else outer.one_by_one(x)


@dataclass(frozen=True)
class _Outer:
    """The outer loss; its methods are the two ways through a batch. What they share is in :func:`transfer_loss`."""

    task: Task
    fixed: Weights
    rates: Rates
    pixel_loss: Callable[[Tensor, Tensor], Tensor]
    loss_weight: float
    meta_gradient: str
    unadapted_weight: float

    def _inner(self, weights: Weights, state: tuple[Inputs, Weights]) -> Tensor:
        inputs, fixed = state
        return self.loss_weight * self.task.loss(fixed | weights, inputs)

    def one_by_one(self, x: Tensor) -> Tensor:
        """Return the loss with the graph of one sample at a time."""

        def of_one(shared: tuple[Weights, Weights, Rates], sample: tuple[Inputs, Tensor]) -> Tensor:
            (weights, fixed, rates), (inputs, clean) = shared, sample
            with DirectDoubleBackward() if self.meta_gradient == 'stored' else nullcontext():
                adapted = adapted_weights(self._inner, weights, (inputs, fixed), rates, self.meta_gradient)
            loss = self.pixel_loss(self.task.restored(fixed | adapted, inputs), clean)
            if self.unadapted_weight:
                unadapted = self.pixel_loss(self.task.restored(fixed | weights, inputs), clean)
                loss = loss + self.unadapted_weight * unadapted
            return loss

        return sum_over_samples(of_one, (self.task.weights, self.fixed, self.rates), (self.task.inputs, x))

    def together(self, x: Tensor) -> Tensor:
        """Return the loss with the graph of all samples, in as many kernels as for one."""
        start = one_for_each(self.task.weights, len(x))

        def of_all(weights: Weights, state: tuple[Inputs, Weights]) -> Tensor:
            inputs, fixed = state
            return together(lambda own, sample: self._inner(own, (sample, fixed)), weights, inputs).sum()

        def outer(weights: Weights) -> Tensor:
            restored = together(self.task.restored, weights, self.task.inputs)
            return torch.stack([self.pixel_loss(own, clean) for own, clean in zip(restored, x.split(1))]).sum()

        state = (self.task.inputs, self.fixed)
        loss = outer(adapted_weights(of_all, start, state, self.rates, self.meta_gradient))
        return loss + self.unadapted_weight * outer(start) if self.unadapted_weight else loss


def stored_bytes(net: nn.Module, objective: Objective, y: Tensor, mask: Tensor | None, *, steps: int,
                 params: str = 'heads') -> int:
    """Return the bytes that 'stored' keeps of `steps` inner steps on the images `y`, from the graph of one of them.

    Examples:
        >>> import torch
        >>> import torch.nn.functional as F
        >>> from maxl_sr.archs.mask_arch import MaskNet
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
        >>> net, mask_net = MultiTaskNet(num_feat=8, feat_step=4), MaskNet(num_feat=4)
        >>> y, x = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
        >>> one, five = (stored_bytes(net, MaskedReconstructionLoss(), y, None, steps=k) for k in (1, 5))
        >>> five == 5 * one
        True
    """
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.no_grad():
        task = Task(net, objective, y, mask, params)
    inputs = tree_map(lambda tensor: tensor if tensor is None
                      else tensor.detach().requires_grad_(tensor.is_floating_point()), task.inputs)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), DirectDoubleBackward():
        loss = task.loss(task.weights, inputs)
        graph = torch.autograd.grad(loss, list(task.weights.values()), create_graph=True, allow_unused=True)
    del graph
    return steps * sum(kept.values())

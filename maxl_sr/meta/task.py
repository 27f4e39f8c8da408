"""The inner problem: what adapting means for given images, as functions of the adapted weights."""

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from maxl_sr.meta.bound import BoundNet
from maxl_sr.meta.objective import Objective
from maxl_sr.meta.space import adaptable_weights
from maxl_sr.meta.tiled import Tiling
from maxl_sr.meta.types import Inputs, Weights


class Task:
    """Objective and restored image of one image, or of a batch that shares its weights, at any adapted weights.

    With ``params='heads'`` whatever depends on the body alone, the features above all, is computed here, once.

    Args:
        net: Multi-task network; it is not changed.
        objective: The self-supervised objective.
        y: Images ``(B, C, H, W)`` in [0, 1].
        mask: Mask ``(B, 1, H, W)`` of the objective, or None.
        params: 'heads', 'all', 'gains' or 'input', see :func:`~maxl_sr.meta.space.adaptable_weights`.
        bound: The network bound to `y`, where other tasks of the same images use it too: what they share is computed
            once.
        tiling: How images that are larger than a tile are computed, see :class:`~maxl_sr.meta.bound.BoundNet`; for
            the test alone.

    Attributes:
        weights: The weights that adapt, as the network has them.
        inputs: All else that the objective and the restored image depend on.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.losses.blind_spot_loss import BlindSpotLoss
        >>> from maxl_sr.meta import Task
        >>> task = Task(MultiTaskNet(num_feat=8, feat_step=4), BlindSpotLoss(), torch.rand(1, 3, 16, 16), mask=None)
        >>> loss = task.objective(task.weights)
        >>> task.restored(task.weights).shape
        torch.Size([1, 3, 16, 16])
    """

    def __init__(self, net: nn.Module, objective: Objective, y: Tensor, mask: Tensor | None,
                 params: str = 'heads', bound: BoundNet | None = None, tiling: Tiling | None = None) -> None:
        self.weights = adaptable_weights(net, params, y)
        self._net, self._objective, self._params, self._tiling = net, objective, params, tiling
        self.inputs = Inputs(mask, y)
        self._shared: int | None = None
        if params == 'heads':
            frozen = BoundNet(net, y, tiling=tiling) if bound is None else bound
            features = frozen.forward_features(y)
            prepared = objective.prepare(frozen, y)
            # Features that the objective uses as they are stay one tensor: its gradient is added up once
            self._shared = next((i for i, leaf in enumerate(tree_leaves(prepared)) if leaf is features), None)
            self.inputs = Inputs(mask, y, features if self._shared is None else None, prepared)

    def loss(self, weights: Weights, inputs: Inputs) -> Tensor:
        """Return the scalar objective at `weights`, with `inputs` in place of the task's own."""
        net = BoundNet(self._net, inputs.y, weights, self._features(inputs), self._tiling)
        prepared = inputs.prepared if self._params == 'heads' else self._objective.prepare(net, inputs.y)
        return self._objective.loss(net, prepared, inputs.mask)

    def objective(self, weights: Weights) -> Tensor:
        """Return the scalar objective at `weights`."""
        return self.loss(weights, self.inputs)

    def restored(self, weights: Weights, inputs: Inputs | None = None) -> Tensor:
        """Return the restored images ``(B, C, H, W)`` at `weights`."""
        inputs = self.inputs if inputs is None else inputs
        return BoundNet(self._net, inputs.y, weights, self._features(inputs), self._tiling).restored()

    def _features(self, inputs: Inputs) -> Tensor | None:
        return inputs.features if self._shared is None else tree_leaves(inputs.prepared)[self._shared]

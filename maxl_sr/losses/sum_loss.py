"""Sums of losses, and of inner objectives, where an option file has room for one."""

from collections.abc import Sequence

import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.meta import BoundNet
from maxl_sr.meta.objective import Heads, same_size
from maxl_sr.meta.types import Prepared
from maxl_sr.settings.components import LossSection, ObjectiveSection
from maxl_sr.settings.losses import check_loss, check_objective


@LOSS_REGISTRY.register()
class SumLoss(nn.Module):
    """Sum of losses of two images, as the ``pixel_opt`` of any model.

    Args:
        losses: Sections of an option file, each with ``type`` and arguments of a registered loss.

    Raises:
        ValueError: There are no losses.
        UserError: One is unknown, refuses an argument, or does not make one number of two images.

    Examples:
        >>> import torch
        >>> loss = SumLoss([{'type': 'L1Loss'}, {'type': 'MSELoss', 'loss_weight': 2}])
        >>> loss(torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16))
        tensor(3.)
    """

    def __init__(self, losses: Sequence[LossSection]) -> None:
        super().__init__()
        if not isinstance(losses, Sequence) or isinstance(losses, str) or not losses:
            raise ValueError(f'losses must be a list of sections, not {losses!r}')
        self.losses = nn.ModuleList(check_loss(f'losses[{i}]', section) for i, section in enumerate(losses))

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        """Return the sum of the losses of `pred` against `target`, both ``(B, C, H, W)``."""
        return torch.stack([loss(pred, target) for loss in self.losses]).sum()


@LOSS_REGISTRY.register()
class SumObjective(nn.Module):
    """Inner objective: the sum of several, each with its own ``loss_weight`` and all with the same mask.

    Args:
        objectives: Sections of an option file, each with ``type`` and arguments of a registered inner objective.

    Raises:
        ValueError: There are none.
        UserError: One is unknown, refuses an argument, or is no inner objective.

    Examples:
        >>> import torch
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.meta import Task, adapt
        >>> objective = SumObjective([{'type': 'BlindSpotLoss'}, {'type': 'RecorruptionLoss'}])
        >>> task = Task(MultiTaskNet(num_feat=8), objective, torch.rand(1, 3, 32, 32), mask=None)
        >>> for weights, loss in adapt(task, steps=2, lr=1e-3, optimizer='adam'):
        ...     pass
        >>> task.restored(weights).shape
        torch.Size([1, 3, 32, 32])
    """

    def __init__(self, objectives: Sequence[ObjectiveSection]) -> None:
        super().__init__()
        if not isinstance(objectives, Sequence) or isinstance(objectives, str) or not objectives:
            raise ValueError(f'objectives must be a list of sections, not {objectives!r}')
        self.objectives = nn.ModuleList(check_objective(f'objectives[{i}]', section)
                                        for i, section in enumerate(objectives))
        self.same_size = any(same_size(objective) for objective in self.objectives)

    def prepare(self, net: BoundNet, y: Tensor) -> Prepared:
        """Return what each of the objectives prepares."""
        return tuple(objective.prepare(net, y) for objective in self.objectives)  # type: ignore[operator]

    def loss(self, heads: Heads, prepared: Prepared, mask: Tensor | None) -> Tensor:
        """Return the sum of the objectives."""
        losses = [objective.loss(heads, own, mask)  # type: ignore[operator]
                  for objective, own in zip(self.objectives, prepared)]
        return torch.stack(losses).sum()

"""A choice among inner objectives, made for every image by the guard."""

from collections.abc import Sequence
from typing import Any

from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from maxl_sr.errors import UserError
from maxl_sr.meta import BoundNet
from maxl_sr.meta.objective import Heads, same_size
from maxl_sr.meta.types import Prepared
from maxl_sr.settings.losses import check_objective

CANDIDATES = ('PhotographNoiseLoss', 'NoiseTransplantLoss', 'Neighbor2NeighborLoss')


class AutoObjective(nn.Module):
    """Several inner objectives, of which the guard keeps the one that serves an image best: ``type: auto``.

    Each takes its steps from the trained weights, one after the other. The guard looks at all of them alike and keeps
    the weights at which its own objective is least, or the trained ones where none lowers it. So it is for
    ``val: adapt`` with a guard; a training needs one objective.

    Args:
        candidates: Sections of an option file, each with ``type`` and arguments of an inner objective; None: the
            defaults of :data:`CANDIDATES`.

    Raises:
        ValueError: There are none, or one of them is a choice itself.
        UserError: One is unknown, refuses an argument, or is no inner objective.

    Examples:
        >>> import torch
        >>> from maxl_sr.adaptation import Adapter
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> from maxl_sr.settings.adaptation import Adapt
        >>> adapter = Adapter(Adapt(steps=2, lr=1e-3, optimizer='adam', aux_opt={'type': 'auto'}, guard={}))
        >>> found = adapter.adapt(MultiTaskNet(num_feat=8), torch.rand(1, 3, 64, 64), mask=None)
        >>> for weights, loss in found:
        ...     pass
        >>> found.restored().shape
        torch.Size([1, 3, 64, 64])
    """

    def __init__(self, candidates: Sequence[dict[str, Any]] | None = None) -> None:
        super().__init__()
        if candidates is None:
            candidates = [{'type': name} for name in CANDIDATES]
        if not isinstance(candidates, Sequence) or isinstance(candidates, str) or not candidates:
            raise ValueError(f'candidates must be a list of sections, not {candidates!r}')
        self.candidates = nn.ModuleList(check_objective(f'candidates[{i}]', section)
                                        for i, section in enumerate(candidates))
        if any(isinstance(candidate, AutoObjective) for candidate in self.candidates):
            raise ValueError('candidates must be objectives, not a choice again')
        self.same_size = any(same_size(candidate) for candidate in self.candidates)

    def prepare(self, net: BoundNet, y: Tensor) -> Prepared:
        """Refuse to be one objective.

        Raises:
            UserError: Always.
        """
        raise UserError('auto chooses an objective for every image, in val: adapt with a guard; name one here')

    def loss(self, heads: Heads, prepared: Prepared, mask: Tensor | None) -> Tensor:
        """Refuse as :meth:`prepare`."""
        raise UserError('auto chooses an objective for every image, in val: adapt with a guard; name one here')


LOSS_REGISTRY._do_register('auto', AutoObjective)  # the name in option files, which a class cannot well have

"""Inner rates α: one number, or learned, for every tensor or every parameter, the same in all steps or not."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from maxl_sr.meta.space import GAIN, OFFSET, adaptable_weights
from maxl_sr.meta.types import Rates, Weights

LEARN_LR = ('tensor', 'parameter')


def fixed_rates(weights: Weights, lr: float, steps: int) -> Rates:
    """Return the same rate `lr` for all `weights` and steps.

    Examples:
        >>> fixed_rates({'w': torch.ones(3)}, lr=0.1, steps=2)
        [{'w': 0.1}, {'w': 0.1}]
    """
    of_step: dict[str, Tensor | float] = dict.fromkeys(weights, lr)
    return steps * [of_step]


def rates_of(weights: Weights, steps: int, lr: float | None, rates: Rates | None) -> Rates:
    """Return the rates of every step: `lr` for all of them, or those that are given.

    Raises:
        ValueError: Both or neither are given, or the rates are not of `steps` steps or of all weights.
    """
    if (lr is None) == (rates is None):
        raise ValueError('give either lr, one number, or the rates of every step')
    if lr is not None:
        return fixed_rates(weights, lr, steps)
    assert rates is not None
    if len(rates) != steps:
        raise ValueError(f'there are rates of {len(rates)} steps, but steps is {steps}')
    if any(weights.keys() - rate.keys() for rate in rates):
        raise ValueError('the rates must be of every weight that adapts')
    return rates


class InnerRates(nn.Module):
    """Learned inner rates ``α = exp(ρ)`` with the parameters ρ, so that a rate stays positive.

    The gradient into α of step k is ``−⟨v, ∇θ' L(θ'_{k−1})⟩`` with v the gradient at ``θ'_k``: each of the exact
    meta-gradients has it at hand.

    Args:
        net: Multi-task network.
        lr: Rate to begin with.
        params: What adapts: 'heads', 'all', 'gains' or 'input'.
        learn_lr: 'tensor' (one rate for each of the weights) or 'parameter' (one for each of their elements).
        steps: Number of steps that have rates of their own; later steps use the last ones.

    Raises:
        ValueError: `params` or `learn_lr` is none of its choices, or `lr` or `steps` is not positive.

    Examples:
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> rates = InnerRates(MultiTaskNet(), lr=0.1, steps=3)
        >>> rates.kind()
        ('heads', 'tensor', 3)
        >>> round(rates(3)[0]['aux_head.0.weight'].item(), 3)
        0.1
    """

    covers_all: Tensor

    def __init__(self, net: nn.Module, lr: float, params: str = 'heads', learn_lr: str = 'tensor',
                 steps: int = 1) -> None:
        super().__init__()
        if learn_lr not in LEARN_LR:
            raise ValueError(f"learn_lr must be 'tensor' or 'parameter', not {learn_lr!r}")
        if not lr > 0 or steps < 1:
            raise ValueError(f'lr ({lr}) and steps ({steps}) must be positive')
        if params == 'input' and learn_lr == 'parameter':
            raise ValueError("learn_lr: the offset of the input has one rate ('tensor'), for images of any size")
        self.register_buffer('covers_all', torch.tensor(params == 'all'))
        self.log_rates = nn.ParameterDict()
        for name, weight in adaptable_weights(net, params).items():
            shape = weight.shape if learn_lr == 'parameter' else ()
            start = torch.full((steps, *shape), math.log(lr), dtype=weight.dtype, device=weight.device)
            self.log_rates[name.replace('.', '/')] = nn.Parameter(start)  # a dot is a level of the state dict

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Tensor]) -> 'InnerRates':
        """Return the rates that ``state_dict()`` has described."""
        rates = cls(nn.Module(), 1.0, 'all' if state['covers_all'] else 'heads')
        for key, value in state.items():
            if key != 'covers_all':
                rates.log_rates[key.removeprefix('log_rates.')] = nn.Parameter(value.clone())
        return rates

    def names(self) -> list[str]:
        """Return the names of the weights that have a rate."""
        return [key.replace('/', '.') for key in self.log_rates]

    def params(self) -> str:
        """Return what has rates: 'heads', 'all' weights, 'gains' or 'input'."""
        names = self.names()
        if names and names[0] == OFFSET:
            return 'input'
        if names and names[0].endswith(GAIN):
            return 'gains'
        return 'all' if self.covers_all else 'heads'

    def kind(self) -> tuple[str, str, int]:
        """Return what has rates (:meth:`params`), what shares one ('tensor', 'parameter'), and for how many steps."""
        rate = next(iter(self.log_rates.values()))
        return self.params(), 'tensor' if rate.dim() == 1 else 'parameter', len(rate)

    def forward(self, steps: int) -> Rates:
        """Return the rates of `steps` steps, differentiable in the parameters."""
        rates = {name: log_rate.exp() for name, log_rate in zip(self.names(), self.log_rates.values())}
        return [{name: rate[min(step, len(rate) - 1)] for name, rate in rates.items()} for step in range(steps)]

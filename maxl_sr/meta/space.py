"""What adapts: the heads, all weights, a gain of every channel, or an offset of the input.

Gains are those of GainTuning (arXiv 2107.12815): so few parameters can hardly overfit one image. The offset is that of
LAN (arXiv 2412.10651): the network stays as it is, and the noise is made one that it knows.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maxl_sr.meta.network import Traits
from maxl_sr.meta.types import Weights

PARAMS = ('heads', 'all', 'gains', 'input')
GAIN = '.gain'  # ends the name of the gains of a weight
OFFSET = 'input.offset'


def _transposed(net: nn.Module, name: str) -> bool:
    owner = net.get_submodule(name.rpartition('.')[0])
    return isinstance(owner, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))


def _along(gain: Tensor, weight: Tensor, dim: int) -> Tensor:
    """Return `gain` shaped to multiply the output channels of `weight`, its dimension `dim`."""
    return gain.view(*(len(gain) if d == dim else 1 for d in range(weight.dim())))


def _new(values: Tensor) -> Tensor:
    return values.detach().requires_grad_()


def adaptable_weights(net: nn.Module, params: str, y: Tensor | None = None) -> Weights:
    """Return the weights θ'_0 that the inner loop changes, by name.

    Args:
        net: The network.
        params: 'heads': the weights of ``primary_head`` and ``aux_head``, or of what the network names,
            :attr:`~maxl_sr.meta.network.Traits.adaptable`. 'all': all of its weights. 'gains': a factor, 1 at
            first, of every output channel of every layer, ``NAME.gain`` for the weight NAME. 'input': an offset, 0 at
            first, of the input, ``input.offset``, ``(1, C, H, W)``.
        y: Images ``(B, C, H, W)`` whose offset is meant; None: one of a single value stands for it.

    Weights that are frozen do not adapt, unless all of them are (a network that is used, not trained).

    Raises:
        ValueError: `params` is none of its choices.

    Examples:
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> net = MultiTaskNet()
        >>> [len(adaptable_weights(net, params)) for params in PARAMS]
        [9, 38, 38, 1]
    """
    if params not in PARAMS:
        raise ValueError(f'params must be one of {", ".join(PARAMS)}, not {params!r}')
    if params == 'input':
        some = next(net.parameters())
        like = some.new_zeros(1, 1, 1, 1) if y is None else torch.zeros_like(y[:1])
        return {OFFSET: _new(like)}
    prefixes = Traits(net).adaptable if params == 'heads' else ''
    weights: Weights = {name: weight for name, weight in net.named_parameters() if name.startswith(prefixes)}
    trained: Weights = {name: weight for name, weight in weights.items() if weight.requires_grad}
    weights = trained or weights
    if params != 'gains':
        return weights
    return {f'{name}{GAIN}': _new(weight.new_ones(weight.shape[1 if _transposed(net, name) else 0]))
            for name, weight in weights.items() if weight.dim() > 1}


def realised(net: nn.Module, weights: Weights) -> tuple[Weights, Tensor | None]:
    """Return the weights of `net` that adapted `weights` stand for, and the offset of the input, if there is one.

    Examples:
        >>> conv = nn.Conv2d(3, 4, 3, bias=False)
        >>> weights = {'weight.gain': torch.full((4, ), 2.)}
        >>> bool((realised(conv, weights)[0]['weight'] == 2 * conv.weight).all())
        True
    """
    plain = {name: weight for name, weight in weights.items() if not name.endswith(GAIN) and name != OFFSET}
    for name, gain in weights.items():
        if name.endswith(GAIN):
            own = name.removesuffix(GAIN)
            weight = plain.get(own, None)
            weight = net.get_parameter(own) if weight is None else weight
            plain[own] = weight * _along(gain, weight, 1 if _transposed(net, own) else 0)
    return plain, weights.get(OFFSET)


def shifted(x: Tensor, offset: Tensor) -> Tensor:
    """Return the image `x` with the offset, which is resized to an image of another size that was made of it."""
    if offset.shape[-2:] != x.shape[-2:]:
        offset = F.interpolate(offset, size=x.shape[-2:], mode='bilinear', align_corners=False)
    return x + offset

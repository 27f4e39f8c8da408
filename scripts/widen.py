"""Widen a network without changing what it computes (Net2Net, Chen et al., ICLR 2016), to train it on from there."""

import argparse
from pathlib import Path

import torch
from torch import Tensor

IMAGES = ('body.conv_first', 'aux_head.0')  # convolutions that read images: these keep their channels


def widen(weights: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Return the weights of a ``MultiTaskNet`` of twice as many features at every level.

    Every feature is there twice, and what reads it gets it in two unequal parts, so that training tells them apart.

    Args:
        weights: Its weights, with the first and the last convolution of ``body``, ``primary_head`` and ``aux_head``.
        seed: Seed of the parts.
    """
    generator = torch.Generator().manual_seed(seed)
    last = {head: max(int(name.split('.')[1]) for name in weights if name.startswith(head))
            for head in ('primary_head', 'aux_head')}
    wide = {}
    for name, weight in weights.items():
        module = name.rpartition('.')[0]
        if weight.ndim == 4 and not module.startswith(IMAGES):
            part = 0.5 + 0.25 * (2 * torch.rand(weight.shape, generator=generator, dtype=weight.dtype) - 1)
            weight = torch.cat([part * weight, (1 - part) * weight], 1)
        if module not in {f'{head}.{index}' for head, index in last.items()}:
            # The second half of the features reads the parts the other way round
            first, second = weight.chunk(2, 1) if weight.shape != weights[name].shape else (weight, None)
            weight = torch.cat([weight, weight if second is None else torch.cat([second, first], 1)])
        wide[name] = weight
    return wide


def main() -> None:
    """Widen a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path, help='net_g_*.pth of a MultiTaskNet')
    parser.add_argument('-o', '--output', type=Path, required=True, help='where the wide one is written')
    args = parser.parse_args()
    saved = torch.load(args.checkpoint, map_location='cpu', weights_only=True)
    weights = widen(saved.get('params_ema', saved['params']))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save({'params': weights}, args.output)


if __name__ == '__main__':
    main()

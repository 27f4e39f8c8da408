"""Widen a network without changing what it computes (Net2Net, Chen et al., ICLR 2016), to train it on from there."""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from maxl_sr.adaptation.checkpoint import read_weights
from maxl_sr.errors import UserError
from maxl_sr.utils.files import replacing

READ_IMAGES = ('body.conv_first', 'aux_head.0')  # these convolutions keep their input channels
HEADS = ('primary_head', 'aux_head')  # the last convolution of each keeps its output channels


def widen(weights: dict[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
    """Return the weights of a ``MultiTaskNet`` of twice as many features at every level.

    Every feature is there twice, and what reads it gets it in two unequal parts, so that training tells them apart.

    Args:
        weights: Its weights by name.
        seed: Seed of the parts.
    """
    generator = torch.Generator().manual_seed(seed)
    last = [f'{head}.{max(int(name.split(".")[1]) for name in weights if name.startswith(head))}' for head in HEADS]
    wide = {}
    for name, weight in weights.items():
        module = name.rpartition('.')[0]
        twin = weight
        if module not in READ_IMAGES:
            part = 0.25 + 0.5 * torch.rand(weight.shape, generator=generator, dtype=weight.dtype)
            parts = part * weight, (1 - part) * weight
            weight, twin = torch.cat(parts, 1), torch.cat(parts[::-1], 1)
        wide[name] = weight if module in last else torch.cat([weight, twin])
    return wide


def main() -> None:
    """Widen a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('checkpoint', type=Path, help='net_g_*.pth of a MultiTaskNet')
    parser.add_argument('-o', '--output', type=Path, required=True, help='where the wide one is written')
    args = parser.parse_args()
    try:
        _, weights = read_weights('checkpoint', str(args.checkpoint), 'params_ema')
    except UserError as error:
        parser.error(str(error))
    if 'body.conv_first.weight' not in weights:
        parser.error(f'{args.checkpoint} is no checkpoint of a MultiTaskNet')
    weights = widen(weights)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(args.output) as partial:
        torch.save({'params': weights}, partial)


if __name__ == '__main__':
    main()

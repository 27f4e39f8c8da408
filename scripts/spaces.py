"""What adapts, and on what: every space with every objective on known, foreign and real noise, one network.

``python scripts/spaces.py -opt options/denoise/test_fast.yml --weights weights/fast.pth --known KODAK --real lq gt``
prints a table: the mean gain in dB (the worst image) of K steps without gate and guard. Clean photographs get Gaussian
noise, which the network knows, and sine patterns, which it does not; real pairs are taken as they are.
"""

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import maxl_sr  # noqa: F401  isort: skip
from basicsr.data import build_dataset
from basicsr.metrics import calculate_psnr
from basicsr.utils import tensor2img

from maxl_sr.adaptation import Adapter
from maxl_sr.errors import UserError
from maxl_sr.policy import told
from maxl_sr.restore.loading import of_options
from maxl_sr.settings.adaptation import Adapt

# Rates of Adam at which each space moves the restored image about as far
RATES = {'heads': 5e-4, 'all': 5e-5, 'gains': 5e-3, 'input': 3e-3}
NEVER = {'least_left': 0.0, 'most_spread': 1e9, 'most_rise': 1e9}  # the gate is open
OBJECTIVES: dict[str, dict[str, Any]] = {
    'photograph noise': {'type': 'PhotographNoiseLoss', **NEVER},
    'noise transplant': {'type': 'NoiseTransplantLoss', 'flatness': float('inf')},
    'blind spot': {'type': 'BlindSpotLoss'},
    'Neighbor2Neighbor': {'type': 'Neighbor2NeighborLoss'},
    'recorruption': {'type': 'RecorruptionLoss'},
    "Stein's estimate": {'type': 'SURELoss', 'flatness': float('inf')},
}
LITERATURE = {('gains', "Stein's estimate"): 'GainTuning', ('input', 'Neighbor2Neighbor'): 'LAN',
              ('all', 'Neighbor2Neighbor'): 'Neighbor2Neighbor, fine-tuned',
              ('all', 'blind spot'): 'Noise2Self, fine-tuned'}


def pairs(args: argparse.Namespace) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """Return noisy and clean images of each kind of noise."""
    shared = {'io_backend': {'type': 'disk'}, 'center_crop': args.side, 'scale': 1, 'phase': 'test'}
    quiet = {'speckle': None, 'salt_pepper': None}
    clean = {'type': 'SyntheticNoiseDataset', 'dataroot_gt': args.known, **shared}
    sections = {'known: Gaussian, σ = 25': {**clean, 'noise': {'gaussian': [25, 25], **quiet}},
                'foreign: sine pattern, σ = 5': {**clean, 'noise': {'gaussian': [5, 5], 'periodic': [12, 18], **quiet}}}
    if args.real:
        sections['real, cameras unseen'] = {'type': 'MixedPairedDataset', 'dataroot_lq': args.real[0],
                                            'dataroot_gt': args.real[1], **shared}
    found = {}
    for name, section in sections.items():
        dataset = build_dataset({**section, 'name': name})
        chosen = np.linspace(0, len(dataset) - 1, min(args.images, len(dataset))).astype(int)
        items = [dataset[int(index)] for index in chosen]
        found[name] = [(item['lq'][None], item['gt'][None]) for item in items]
    return found


def gain(net: torch.nn.Module, adapter: Adapter, y: Tensor, x: Tensor) -> float:
    """Return by how many dB adapting restores the image better."""
    with torch.no_grad():
        found = adapter.adapt(net, y, None)
        for _ in found:
            pass
        images = (found.bound.restored(), found.restored())
        before, after = (calculate_psnr(tensor2img(image), tensor2img(x), crop_border=0) for image in images)
    return float(after - before)


def main() -> int:
    """Print the table; return the exit code: 2 for a mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', required=True, help="a test's option file")
    parser.add_argument('--weights', help='checkpoint of the network (default: that of the option file)')
    parser.add_argument('--known', required=True, metavar='FOLDER', help='clean photographs')
    parser.add_argument('--real', nargs=2, metavar=('NOISY', 'CLEAN'), help='folders of real pairs')
    parser.add_argument('--images', type=int, default=6, help='of each kind (default: %(default)s)')
    parser.add_argument('--side', type=int, default=192, help='of the central crop (default: %(default)s)')
    parser.add_argument('--steps', type=int, default=10, help='(default: %(default)s)')
    args = parser.parse_args()

    def work() -> int:
        net = of_options(args.opt, args.weights).net.eval().requires_grad_(False)
        for folder in (args.known, *(args.real or ())):
            if not Path(folder).is_dir():
                raise UserError(f'there is no folder {folder}')
        data = pairs(args)
        print(f'| space, Adam | objective | {" | ".join(data)} | as in |\n{"|---" * (len(data) + 3)}|', flush=True)
        for space, objective in itertools.product(RATES, OBJECTIVES):
            adapter = Adapter(Adapt(steps=args.steps, lr=RATES[space], params=space, optimizer='adam',
                                    aux_opt=OBJECTIVES[objective]))
            cells = []
            for images in data.values():
                gains = [gain(net, adapter, y, x) for y, x in images]
                cells.append(f'{np.mean(gains):+.2f} ({np.min(gains):+.2f})')
            print(f'| {space}, {RATES[space]:g} | {objective} | {" | ".join(cells)} | '
                  f'{LITERATURE.get((space, objective), "")} |', flush=True)
        return 0

    return told(work)


if __name__ == '__main__':
    sys.exit(main())

"""A yardstick of what adapting can gain, for the adaptation of an option file.

For every image of the test sets the network is adapted with the ground truth of the left half as supervision, and
scored on the right half; the gain of the option file's adaptation, to the whole image and without ground truth, is
printed as a share of that. It is no strict bound: what the left half teaches need not fit the right one. The ground
truth has the channel means of the noisy image, in training and score (``--raw``: as it is).

``python scripts/oracle.py -opt options/denoise/test_fast.yml --weights weights/fast.pth``
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import maxl_sr  # noqa: F401  isort: skip
from basicsr.data import build_dataset
from basicsr.metrics import calculate_psnr
from basicsr.utils import tensor2img

from maxl_sr import Restorer
from maxl_sr.errors import UserError
from maxl_sr.meta import BoundNet, Task, adapt
from maxl_sr.metrics.matched_metric import matched
from maxl_sr.policy import told
from maxl_sr.restore.loading import of_options
from maxl_sr.settings.option_file import read_option_file
from maxl_sr.utils.packaged import find_option_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for what lies beside this script

from scripts.tables import head, signed


class Supervised(nn.Module):
    """Inner objective with ground truth: ``mean |x̂ − x|`` over the left half of the image.

    Args:
        truth: x, ``(1, C, sH, sW)``.
    """

    def __init__(self, truth: Tensor) -> None:
        super().__init__()
        self.truth = truth

    def prepare(self, net: BoundNet, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of y, and y."""
        return net.forward_features(y), y

    def loss(self, heads: Any, prepared: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Return the loss of the left half."""
        half = self.truth.shape[-1] // 2
        restored = heads.forward_primary(*prepared)
        return (restored - self.truth)[..., :half].abs().mean()


def score(restored: np.ndarray, truth: np.ndarray, noisy: np.ndarray | None) -> float:
    """Return the PSNR in dB of the right half, the truth in the light of the noisy image where it is given."""
    half = truth.shape[1] // 2
    target = truth[:, half:] if noisy is None else matched(truth[:, half:], noisy[:, half:])
    return float(calculate_psnr(restored[:, half:], target, crop_border=0))


def rows(args: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the table."""
    opt = read_option_file(find_option_file(args.opt))
    scale = opt.get('scale', 1)
    trained = of_options(args.opt, args.weights)
    net, restorer = trained.net.eval().requires_grad_(False), Restorer.of(trained)
    yield head(['Data (images)', 'un-adapted', f'oracle: {args.params}, Adam {args.lr:g}, K = {args.steps}', 'ours',
                'share'])
    for key, section in opt['datasets'].items():
        section = {**section, 'phase': 'test', 'scale': scale}
        if args.center_crop:
            section['center_crop'] = args.center_crop
        dataset = build_dataset(section)
        found = []
        for index in range(0, len(dataset), args.every):
            item = dataset[index]
            if 'gt' not in item:
                raise UserError(f'{args.opt}: datasets: {key} has no ground truth')
            y, x = item['lq'][None], item['gt'][None]
            noisy, truth = tensor2img(y, rgb2bgr=False), tensor2img(x, rgb2bgr=False)
            light = noisy if scale == 1 and not args.raw else None
            target = x if light is None else x + (y - x).mean((-2, -1), keepdim=True)
            task = Task(net, Supervised(target), y, None, args.params)
            with torch.no_grad():
                before = score(tensor2img(net(y), rgb2bgr=False), truth, light)
            *_, (at, _) = adapt(task, args.steps, args.lr, 'adam')
            with torch.no_grad():
                oracle = score(tensor2img(task.restored(at), rgb2bgr=False), truth, light)
            ours = score(np.asarray(restorer.run(noisy, guard=not args.no_guard).image), truth, light)
            found.append((before, oracle - before, ours - before))
        before, oracle_gain, our_gain = np.array(found).T
        gains = [f'{signed(gain.mean())} ({signed(gain.min())} … {signed(gain.max())})'
                 for gain in (oracle_gain, our_gain)]
        share = f'{round(our_gain.mean() / oracle_gain.mean(), 2) + 0.0:.0%}' if oracle_gain.mean() > 0 else ''
        name = section.get('name', key)
        yield f'| {name} ({len(found)}) | {before.mean():.2f} | {" | ".join(gains)} | {share} |'


def main() -> int:
    """Print the table; return the exit code: 2 for a mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', required=True, help="a test's option file")
    parser.add_argument('--weights', help='checkpoint of the network (default: that of the option file)')
    parser.add_argument('--steps', type=int, default=10, help='steps of the oracle (default: %(default)s)')
    parser.add_argument('--lr', type=float, default=1e-4, help="its rate, in Adam's unit (default: %(default)s)")
    parser.add_argument('--params', choices=('heads', 'all', 'gains'), default='heads',
                        help='what the oracle adapts (default: %(default)s)')
    parser.add_argument('--center-crop', type=int, metavar='PIXELS', help='look at the central pixels of each image')
    parser.add_argument('--every', type=int, default=1, metavar='N', help='look at every N-th image')
    parser.add_argument('--no-guard', action='store_true', help='take all steps in our adaptation')
    parser.add_argument('--raw', action='store_true', help='take the ground truth as it is, not matched in light')
    args = parser.parse_args()

    def work() -> int:
        for name in ('steps', 'every', 'center_crop'):
            if getattr(args, name) is not None and getattr(args, name) < 1:
                raise UserError(f'--{name.replace("_", "-")} must be at least 1, not {getattr(args, name)}')
        for line in rows(args):
            print(line, flush=True)
        return 0

    return told(work)


if __name__ == '__main__':
    sys.exit(main())

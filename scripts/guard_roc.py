"""How well gate and guard tell the images that gain from those that lose: the figure of the docs.

``python scripts/guard_roc.py -opt options/denoise/val_guard.yml --weights weights/fast.pth --json FILE`` adapts to
images of the test sets, whatever gate and guard say, and writes down what they said and what was gained.
``--figure docs/images/guard.png`` draws the figure from the JSON file, ``docs/evidence/guard.json``, alone.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import maxl_sr  # noqa: F401  isort: skip
from basicsr.data import build_dataset
from basicsr.metrics import calculate_psnr
from basicsr.utils import tensor2img

from maxl_sr.errors import UserError
from maxl_sr.losses.left_noise import flat_blocks_of
from maxl_sr.losses.left_noise_loss import LeftNoiseLoss
from maxl_sr.losses.photograph_noise_loss import PhotographNoiseLoss
from maxl_sr.meta import BoundNet, Task, adapt
from maxl_sr.policy import told
from maxl_sr.restore.loading import of_options
from maxl_sr.settings.option_file import read_option_file
from maxl_sr.utils.files import check_file, check_folder, replacing
from maxl_sr.utils.packaged import find_option_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for what lies beside this script

from scripts.plotting import pyplot, save

OPEN: dict[str, Any] = {'least_left': 0.0, 'most_spread': 1e9, 'most_rise': 1e9}  # the gate, whatever the image
KEYS = {'data', 'image', 'share', 'spread', 'rise', 'decrease', 'before', 'gain'}  # of a row
LOSS = -0.02  # dB; less counts as a loss


def measure(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for every image: what gate and guard see, and what the steps gain.

    Raises:
        UserError: The option file does not adapt, or a test set has no ground truth.
    """
    opt = read_option_file(find_option_file(args.opt))
    trained, gate = of_options(args.opt, args.weights), LeftNoiseLoss()
    net, options = trained.net.eval().requires_grad_(False), trained.adapt
    if options is None or options.lr is None:
        raise UserError(f'{args.opt}: val: adapt: key lr is missing')
    rows = []
    for key, data in opt['datasets'].items():
        dataset = build_dataset({**data, 'phase': 'test', 'scale': 1})
        for index in np.linspace(0, len(dataset) - 1, min(args.most, len(dataset))).astype(int).tolist():
            item = dataset[index]
            if 'gt' not in item:
                raise UserError(f'{args.opt}: datasets: {key} has no ground truth')
            y, x = item['lq'][None], item['gt'][None]
            bound = BoundNet(net, y)
            with torch.no_grad():
                blocks = flat_blocks_of(bound, gate.block_size, gate.least)
                guard = Task(net, LeftNoiseLoss(**OPEN), y, None, 'heads', bound)
                before, start = bound.restored(), float(guard.objective(guard.weights))
            task = Task(net, PhotographNoiseLoss(**OPEN), y, None, 'heads', bound)
            *_, (weights, _) = adapt(task, options.steps, options.lr, options.optimizer)
            with torch.no_grad():
                after, end = task.restored(weights), float(guard.objective(weights))
            psnr = [float(calculate_psnr(tensor2img(image), tensor2img(x), crop_border=0)) for image in (before, after)]
            rows.append({'data': data.get('name', key), 'image': index, 'share': round(blocks.share.item(), 4),
                         'spread': round(blocks.spread.item(), 4), 'rise': round(blocks.rise.item(), 4),
                         'decrease': round((start - end) / (start + 1e-12), 4), 'before': round(psnr[0], 3),
                         'gain': round(psnr[1] - psnr[0], 3)})
            print(rows[-1], flush=True)
    return rows


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON file.

    Raises:
        UserError: It holds none.
    """
    check_file(path)
    try:
        rows = json.loads(path.read_text(encoding='utf-8'))
        if rows and all(KEYS <= row.keys() for row in rows):
            return list(rows)
    except (ValueError, TypeError, AttributeError):
        pass
    raise UserError(f'{path} holds no rows of this script')


def passes(row: dict[str, Any]) -> bool:
    """Whether the gate lets an image pass."""
    loss = LeftNoiseLoss()
    return bool(row['share'] > loss.least_left and row['spread'] <= loss.most_spread and row['rise'] <= loss.most_rise)


def accepted(rows: Sequence[dict[str, Any]], margin: float, gated: bool) -> list[float]:
    """Return the gains of the images that are adapted to."""
    return [row['gain'] for row in rows if row['decrease'] > margin and (not gated or passes(row))]


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the share of the gainers and of the losers that are adapted to, what they gain, and gain against noise."""
    margins = np.linspace(0, 0.95, 96)
    gainers, losers = (sum(sign * row['gain'] > 0.02 for row in rows) for sign in (1, -1))
    figure, (left, right, far) = pyplot().subplots(1, 3, figsize=(15, 3.8), constrained_layout=True)
    for gated, color, name in ((False, 'tab:orange', 'guard alone'), (True, 'tab:blue', 'gate and guard')):
        taken = [np.array(accepted(rows, margin, gated)) for margin in margins]
        left.plot([(gains < LOSS).sum() / max(losers, 1) for gains in taken],
                  [(gains > -LOSS).sum() / max(gainers, 1) for gains in taken], color=color, label=name)
        right.plot(margins, [gains.sum() / len(rows) for gains in taken], color=color, label=f'{name}: mean')
        right.plot(margins, [min([0, *gains]) for gains in taken], ':', color=color, label=f'{name}: worst')
    left.set(xlabel='share of the images that lose, adapted to', ylabel='share of those that gain',
             title=f'{gainers} images gain, {losers} lose')
    right.set(xlabel='margin of the guard', ylabel='gain (dB)', title='Over all images')
    left.locator_params(axis='x', nbins=5)
    right.axvline(0.3, color='grey', linewidth=0.8)
    for number, data in enumerate(dict.fromkeys(row['data'] for row in rows)):
        for taken in (False, True):
            points = [(row['share'], row['gain']) for row in rows if row['data'] == data and passes(row) == taken]
            if points:
                far.plot(*zip(*points), 'o', color=f'C{number}', markersize=5, fillstyle='full' if taken else 'none',
                         label=f'{data}, passes' if taken else data)
    far.set(xlabel='share of the noise that the network leaves', ylabel='gain of the steps (dB)',
            title='How far the noise is from the training')
    for axes in (left, right, far):
        axes.legend(fontsize=7, **({'loc': 'upper left', 'bbox_to_anchor': (1, 1)} if axes is far else {}))
        axes.grid(alpha=0.3)
    save(figure, path, dpi=110)


def main() -> int:
    """Measure or draw; return the exit code: 2 for a mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', help="a test's option file")
    parser.add_argument('--weights', help='checkpoint of the network (default: that of the option file)')
    parser.add_argument('--most', type=int, default=32, metavar='N', help='look at so many images of a set (default: '
                                                                         '%(default)s)')
    parser.add_argument('--json', type=Path, required=True, help='where the rows are')
    parser.add_argument('--figure', type=Path, help='draw it from the rows, measure nothing')
    args = parser.parse_args()

    def work() -> int:
        if args.figure:
            draw(read_rows(args.json), args.figure)
            return 0
        if not args.opt:
            raise UserError('-opt is missing')
        if args.most < 1:
            raise UserError(f'--most must be at least 1, not {args.most}')
        check_folder(args.json.parent)
        rows = measure(args)
        args.json.parent.mkdir(parents=True, exist_ok=True)
        with replacing(args.json) as partial:
            partial.write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
        return 0

    return told(work)


if __name__ == '__main__':
    sys.exit(main())

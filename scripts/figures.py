"""The paper's figures of the rows that ``scripts/reproduce.py`` has trained, on an image of one's own.

``python scripts/figures.py --noisy NOISY.png --truth CLEAN.png -o FOLDER``, where ``experiments/`` is, draws Figure 3
(``restored.jpg``), Figures 5 and 6 (``masks.jpg``), Figure 7 (``steps.jpg``) and Figure 8 (``features.jpg``). Without
an image: a photograph of scikit-image with the noise of a camera, made here.
"""

import argparse
import sys
from pathlib import Path

import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
import cv2
import numpy as np

from maxl_sr.errors import UserError
from maxl_sr.policy import told
from maxl_sr.utils.files import check_file, check_folder

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for what lies beside this script

from scripts.reproduction import figures
from scripts.reproduction.plan import Plan, definitions

FIGURES = ('restored', 'masks', 'steps', 'features')


def read(path: Path) -> np.ndarray:
    """Return an image, RGB uint8."""
    check_file(path)
    image = cv2.imread(str(path))
    if image is None:
        raise UserError(f'{path} is no image that OpenCV reads')
    return image[..., ::-1]


def example(args: argparse.Namespace) -> figures.Example:
    """Return the image of the command line, or the one made here."""
    if bool(args.noisy) != bool(args.truth):
        raise UserError('--noisy and --truth go together')
    if args.noisy:
        y, x = read(args.noisy), read(args.truth)
        if y.shape != x.shape:
            raise UserError(f'{args.noisy} is {y.shape[1]}×{y.shape[0]}, {args.truth} {x.shape[1]}×{x.shape[0]}')
    else:
        try:
            from scripts.demo import camera_noise, photograph
        except ImportError as error:
            raise UserError('the example needs pip install scikit-image; or give --noisy and --truth') from error

        x = photograph('chelsea')[40:260, 80:380]
        y = camera_noise(x, np.random.default_rng(0))
    return figures.Example(y, x)


def draw(args: argparse.Namespace) -> None:
    """Draw what is asked for."""
    shown = example(args)
    known = definitions()['stage2']
    for name in (args.row, *args.masks):
        if name not in known:
            raise UserError(f'there is no row {name}; there are {", ".join(known)}')
    if 'base' in known[args.row]:
        raise UserError(f'--row {args.row} does not adapt')
    check_folder(args.out)
    plan = Plan(args.scale)
    for name in args.figures or FIGURES:
        path = args.out / f'{name}.jpg'
        if name == 'masks':
            figures.masks(plan, args.masks, args.seed, shown, path)
        else:
            getattr(figures, name)(plan, args.row, args.seed, shown, path)
        print(path, flush=True)


def main() -> int:
    """Return the exit code: 2 for a mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('figures', nargs='*', metavar='FIGURE', help=f'of {", ".join(FIGURES)} (default: all)')
    parser.add_argument('--row', default='maxl', help='whose adaptation is drawn (default: %(default)s)')
    parser.add_argument('--masks', nargs='+', default=['maxl', 'random_masked'], metavar='ROW',
                        help='whose masks are drawn (default: those of MAXL and of random weights)')
    parser.add_argument('--scale', choices=('tiny', 'small', 'paper'), default='small', help='(default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='(default: %(default)s)')
    parser.add_argument('--noisy', type=Path, metavar='FILE', help='the image')
    parser.add_argument('--truth', type=Path, metavar='FILE', help='its ground truth')
    parser.add_argument('-o', '--out', type=Path, default=Path('figures'), metavar='FOLDER',
                        help='(default: %(default)s)')
    args = parser.parse_args()
    for name in args.figures:
        if name not in FIGURES:
            parser.error(f'{name}: there is no such figure; there are {", ".join(FIGURES)}')

    def work() -> int:
        draw(args)
        return 0

    return told(work)


if __name__ == '__main__':
    sys.exit(main())

"""Draw the scores of shipped weights by iteration, from the tables beside them: ``python scripts/curves.py``."""

import argparse
import sys
from itertools import takewhile
from pathlib import Path

from maxl_sr.errors import UserError
from maxl_sr.policy import told
from maxl_sr.utils.files import check_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for what lies beside this script

from scripts.plotting import pyplot, save

FIRST = '| iteration |'  # begins the table
Curves = dict[str, list[tuple[int, float]]]


def curves(text: str, path: str) -> Curves:
    """Return the rows of the table by iteration, as pairs.

    Raises:
        UserError: There is no such table, or it has something else than figures.
    """
    lines = [line.strip() for line in text.splitlines()]
    start = next((number for number, line in enumerate(lines) if line.startswith(FIRST)), None)
    if start is None:
        raise UserError(f'{path} has no table that begins with {FIRST}')
    lines = list(takewhile(lambda line: line.startswith('|'), lines[start:]))
    if len(lines) < 3 or set(lines[1]) - set('|-: '):
        raise UserError(f'{path}: the table of iterations has no rows, or no rule below its head')
    (_, *head), _, *rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    found: Curves = {}
    try:
        iterations = [int(cell.replace(',', '')) for cell in head]
        for name, *cells in rows:
            if name in found:
                raise ValueError(f'{name} is there twice')
            found[name] = list(zip(iterations, map(float, cells), strict=True))
    except ValueError as error:
        raise UserError(f'{path}: the table of iterations: {error}') from error
    return found


def draw(found: dict[str, Curves], path: Path) -> None:
    """Draw a row of panels for each table."""
    columns = max(map(len, found.values()))
    figure, panels = pyplot().subplots(len(found), columns, figsize=(3.6 * columns, 2.6 * len(found)),
                                       constrained_layout=True, squeeze=False)
    for of, row in zip(found, panels):
        for (name, points), axes in zip(found[of].items(), row):
            axes.plot(*zip(*points), marker='.')
            axes.set(title=f'{of}: {name}', xlabel='iteration', ylabel='PSNR (dB)')
            axes.grid(alpha=0.3)
    save(figure, path, dpi=110)


def main() -> int:
    """Draw them."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split(':')[0])
    parser.add_argument('texts', nargs='*', type=Path, help='(default: those of fast and best)',
                        default=[Path('maxl_sr/weights/fast.md'), Path('maxl_sr/weights/best.md')])
    parser.add_argument('-o', '--out', type=Path, default=Path('docs/images/training.png'), metavar='PNG',
                        help='(default: %(default)s)')
    args = parser.parse_args()

    def work() -> int:
        for text in args.texts:
            check_file(text)
        found = {text.stem: curves(text.read_text(encoding='utf-8', errors='replace'), str(text))
                 for text in args.texts}
        if len(found) < len(args.texts):
            raise UserError('two texts have one name')
        args.out.parent.mkdir(parents=True, exist_ok=True)
        draw(found, args.out)
        return 0

    return told(work)


if __name__ == '__main__':
    sys.exit(main())

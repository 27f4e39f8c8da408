"""The paper's tables by one command: train and test their rows, and make a page of the figures.

``python scripts/reproduce.py --table 1 --scale small --seeds 0 1`` trains and tests what is missing; stopped, the same
command goes on. Each row gives a JSON file. ``--report`` makes the page from them. Data: see ``docs/data.md``.
"""

import argparse
import sys
import time
from pathlib import Path

import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
from maxl_sr.errors import UserError
from maxl_sr.policy import told
from maxl_sr.settings.yaml_file import read_yaml
from maxl_sr.utils.files import check_file, check_folder

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for what lies beside this script

from scripts.reproduction.measure import measure, train
from scripts.reproduction.plan import Plan, Row, definitions
from scripts.reproduction.report import write_report
from scripts.reproduction.results import read_row


def arguments() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--table', choices=[str(name) for name in definitions()['tables']], action='append',
                        help='which table (default: all)')
    parser.add_argument('--scale', choices=('tiny', 'small', 'paper'), default='small',
                        help='tiny: a trial; small: a night on two cores; paper: its settings (default: %(default)s)')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='these rows alone')
    parser.add_argument('--seeds', nargs='+', type=int, default=[0], metavar='SEED', help='(default: 0)')
    parser.add_argument('--changes', type=Path, metavar='FILE',
                        help='YAML with further changes of the option files, each under stage1, stage2, ridnet, mirnet '
                             'or test')
    parser.add_argument('-o', '--out', type=Path, default=Path('evidence'), metavar='FOLDER',
                        help='folder of the JSON files (default: %(default)s)')
    parser.add_argument('--report', type=Path, metavar='PAGE', help='make this page of the JSON files, train nothing')
    parser.add_argument('--list', action='store_true', help='say what would be done')
    return parser.parse_args()


def file_of(args: argparse.Namespace, row: Row) -> Path:
    """Return the JSON file of a row."""
    path: Path = args.out / args.scale / f'{row.name}-{row.seed}.json'
    return path


def done(file: Path, row: Row) -> bool:
    """Whether a row has been measured.

    Raises:
        UserError: It has been, with other changes of the option files.
    """
    if not file.exists():
        return False
    if read_row(file).get('changes', {}) != row.changes:
        raise UserError(f'{file} was measured with other --changes; -o another folder, in another working folder')
    return True


def reproduce(args: argparse.Namespace) -> None:
    """Train and test what is missing."""
    changes = None
    if args.changes:
        check_file(args.changes)
        changes = read_yaml(args.changes.read_text(encoding='utf-8', errors='replace'), str(args.changes))
        if not isinstance(changes, dict) or not all(isinstance(section, dict) for section in changes.values()):
            raise UserError(f'{args.changes} must hold sections, such as stage2: {{…}}')
    for seed in args.seeds:
        if not 0 <= seed < 2**31:
            raise UserError(f'--seeds must be from 0 to {2**31 - 1}, not {seed}')
    tables = [int(name) if name.isdigit() else name for name in args.table or map(str, definitions()['tables'])]
    rows = list(Plan(args.scale, changes).rows(tables, args.rows, args.seeds))
    left = [row for row in rows if not done(file_of(args, row), row)]
    print(f'{len(rows)} rows, {len(rows) - len(left)} of them done', flush=True)
    if args.list:
        for row in left:
            print(f'{row.name}, seed {row.seed}: {", ".join(training.name for training in row.trainings)}')
        return
    check_folder(args.out)
    begin = time.monotonic()
    for number, row in enumerate(left):
        for training in row.trainings:
            train(training)
        measure(row, args.scale, file_of(args, row))
        spent = time.monotonic() - begin
        rest = spent / (number + 1) * (len(left) - number - 1)
        print(f'{row.name}, seed {row.seed}: done, {number + 1} of {len(left)} in {spent / 60:.1f} minutes; '
              f'about {rest / 60:.0f} minutes left', flush=True)


def main() -> int:
    """Return the exit code: 2 for a mistake, 130 after Ctrl-C, after which the same command goes on."""
    args = arguments()

    def work() -> int:
        if args.report:
            write_report(args.out, args.report)
        else:
            reproduce(args)
        return 0

    return told(work, after_interruption='the same command goes on')


if __name__ == '__main__':
    sys.exit(main())

"""Time and memory of every step, side by side: ``python scripts/benchmark/run.py``, about half an hour on two cores.

Each variant runs in a process of its own on identical inputs; the gradients are compared before the timing, then the
processes of a setting take turns. Prints a Markdown table, and writes ``results.json`` and ``plot.png``. Wants
``pip install '.[benchmark]'``; run it alone on the machine.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from variants import VARIANTS

Row = dict[str, Any]
BASE = {'width': 32, 'batch': 2, 'patch': 128, 'steps': 5}
MTL = ['MTL plain unrolling', 'MTL stored', 'MTL replay']
TEST = ['test whole network', 'test ours']
# Name of the group: its settings (what differs from BASE) and its variants; the first one is the reference
GROUPS: dict[str, tuple[list[dict[str, int]], list[str]]] = {
    'MTL': ([{}], ['MTL plain unrolling', 'MTL plain unrolling, our settings', 'MTL higher', 'MTL torchopt',
                   'MTL stored', 'MTL replay', 'MTL stored, together', 'MTL replay, together', 'MTL stored, bf16',
                   'MTL replay, bf16', 'MTL first_order', 'plain step']),
    'MTL-steps': ([{'steps': steps} for steps in (1, 10, 20)], MTL),
    'MTL-batch': ([{'batch': batch} for batch in (1, 4, 8)], MTL),
    'MTL-patch': ([{'patch': patch} for patch in (64, 256)], MTL),
    'MTL-width': ([{'width': width} for width in (64, 128)], MTL),
    'MAXL': ([{'batch': 8}, {'batch': 2}, {'batch': 2, 'width': 128}],
             ['MAXL double backward', 'MAXL double backward, our settings', 'MAXL ours', 'MAXL ours, bf16',
              'plain step']),
    'test': ([{'batch': 1, 'patch': 512}], ['test whole network', 'test whole network, our settings', 'test ours',
                                            'inference']),
    'test-steps': ([{'batch': 1, 'patch': 512, 'steps': steps} for steps in (1, 10, 20)], TEST),
    'processes': ([{}], ['MTL stored, processes']),
}
CUDA = {'MTL': ['MTL stored, CUDA graph'], 'MAXL': ['MAXL ours, CUDA graph']}
# Of the exact variants, float32: rounding, and the jumps of the sign function that it causes; a GPU convolves in TF32
TOLERANCE = {'cpu': 1e-4, 'cuda': 1e-3}


class Process:
    """A worker, or several that make their steps at the same time."""

    def __init__(self, spec: Row, folder: Path, world_size: int = 1) -> None:
        self.name = spec['variant'] + (f' × {world_size}' if world_size > 1 else '')
        self.result = folder / f'{self.name}.pt'
        spec = {**spec, 'result': str(self.result), 'world_size': world_size,
                'rendezvous': f'file://{folder}/rendezvous'}
        environment = {**os.environ, 'OMP_NUM_THREADS': str(spec['threads'])}
        self.workers = [subprocess.Popen(
            [sys.executable, '-W', 'ignore', str(Path(__file__).with_name('worker.py')),
             json.dumps({**spec, 'rank': rank})], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=environment) for rank in range(world_size)]

    def answer(self) -> dict[str, float]:
        """Return the next answer, of several workers the largest values."""
        answers = []
        for worker in self.workers:
            assert worker.stdout is not None and worker.stderr is not None
            line = worker.stdout.readline()
            if not line:
                raise RuntimeError((worker.stderr.read().strip().splitlines() or ['it was killed'])[-1])
            answers.append(json.loads(line))
        return {key: max(answer[key] for answer in answers) for key in answers[0]}

    def step(self) -> float:
        for worker in self.workers:
            assert worker.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # then there is no answer either
                worker.stdin.write('\n')
                worker.stdin.flush()
        return self.answer()['seconds']

    def end(self) -> None:
        for worker in self.workers:
            with contextlib.suppress(BrokenPipeError):
                worker.communicate()


def error(result: Path, reference: Path) -> float:
    """Return the relative difference of all gradients, or the largest one of the pixels of an image."""
    ours, theirs = torch.load(result), torch.load(reference)
    if 'image' in theirs:
        return (ours['image'] - theirs['image']).abs().max().item()
    difference = sum((ours[name] - grad).square().sum() for name, grad in theirs.items())
    return (difference / sum(grad.square().sum() for grad in theirs.values())).sqrt().item()


def measure(setting: Row, names: list[str], rounds: int) -> list[Row]:
    """Return a row for every variant at one setting."""
    with tempfile.TemporaryDirectory() as temporary:
        rows: list[Row] = []
        running: list[tuple[Row, Process]] = []
        reference: Path | None = None
        of = [(name, size) for name in names for size in ((1, 2) if 'processes' in name else (1, ))]

        def started() -> Iterator[tuple[str, Process]]:
            for name, size in of:
                yield name, Process({**setting, 'variant': name}, Path(temporary), size)

        # On a GPU all begin at once, its memory is counted by process; on a processor they would share the host's
        for name, process in list(started()) if setting['device'] == 'cuda' else started():
            row: Row = {**setting, 'variant': process.name, 'processes': len(process.workers)}
            rows.append(row)
            try:
                row['bytes'] = process.answer()['bytes']
            except RuntimeError as failure:
                row['failed'] = str(failure)
                process.end()
                continue
            running.append((row, process))
            row['all_seconds'] = []
            if VARIANTS[name].result:
                reference = reference or process.result
                row['error'] = error(process.result, reference)
        for _ in range(rounds):
            for row, process in list(running):
                try:
                    row['all_seconds'].append(process.step())
                except RuntimeError as failure:
                    row['failed'] = str(failure)
                    running.remove((row, process))
        for row, process in running:
            process.end()
            row['seconds'] = statistics.median(row['all_seconds'])
        return rows


def floors(setting: Row) -> dict[str, int]:
    """Return the floating-point operations that each algorithm needs at a setting."""
    with tempfile.TemporaryDirectory() as temporary:
        process = Process({**setting, 'variant': 'floor'}, Path(temporary))
        flops = process.answer()
        process.end()
    return {name: int(value) for name, value in flops.items()}


def add_floors(rows: list[Row]) -> None:
    """Add to each row the ratio of its time to the floor: least arithmetic / rate of the plain step beside it."""
    setting = {key: rows[0][key] for key in (*BASE, 'threads', 'device')}
    times = {row['variant']: row['seconds'] for row in rows if 'seconds' in row}
    if 'plain step' not in times:
        return
    flops = floors(setting)
    rate = flops['plain step'] / times['plain step']
    for row in rows:
        algorithm = row['variant'].split()[0]
        row['rate'] = rate
        if algorithm in flops and 'seconds' in row:
            row['floor'] = flops[algorithm] / rate


def table(rows: list[Row]) -> list[str]:
    """The rows as Markdown, each with its ratios to the first one of its setting."""
    lines = ['| variant | width | batch | patch | K | seconds | faster | MiB | memory | × floor | difference |',
             '|---' * 11 + '|']
    first: Row = {}
    for row in rows:
        if row['variant'] not in ('plain step', 'inference') and (
                any(row[key] != first.get(key) for key in (*BASE, 'threads')) or
                row['variant'].split()[0] != first['variant'].split()[0]):
            first = row
        cells = [row['variant'], *(str(row[key]) for key in BASE)]
        if 'failed' in row:
            lines.append('| ' + ' | '.join([*cells, f"failed: {row['failed']}"]) + ' | | | | | |')
            continue
        times = row.get('processes', 1) / first.get('processes', 1)  # the images that are done in the same time
        faster = f"{times * first['seconds'] / row['seconds']:.2f}×" if 'seconds' in first else ''
        memory = f"{row['bytes'] / first['bytes']:.2f}×" if first.get('bytes') else ''
        floor = f"{row['seconds'] / row['floor']:.2f}" if 'floor' in row else ''
        cells += [f"{row['seconds']:.3f}", faster, f"{row['bytes'] / 2**20:.0f}", memory, floor,
                  f"{row['error']:.0e}" if 'error' in row else '']
        lines.append('| ' + ' | '.join(cells) + ' |')
    return lines


def plot(rows: list[Row], path: Path) -> None:
    """Seconds and memory over the number of steps, and of each variant at the first setting."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(2, 2, figsize=(13, 9), constrained_layout=True)
    shown = ('width', 'patch', 'steps')
    base = tuple(BASE[key] for key in shown)
    good = [row for row in rows if 'seconds' in row]
    for axis, (key, scale, unit) in zip(axes[0], (('seconds', 1, 'seconds'), ('bytes', 2**20, 'peak memory, MiB'))):
        for name in MTL:
            points = sorted((row['steps'], row[key] / scale) for row in good if row['variant'] == name and
                            all(row[k] == BASE[k] for k in ('width', 'batch', 'patch')))
            axis.plot(*zip(*points), marker='o', label=name.removeprefix('MTL ')) if points else None
        axis.set(xlabel='inner steps K', ylabel=unit, title='MTL step, 0.66 M parameters, batch 2, 128²')
        axis.set_ylim(bottom=0)
        axis.legend()
    for axis, algorithm, batch in ((axes[1][0], 'MTL', 2), (axes[1][1], 'MAXL', 8)):
        own = [row for row in good if row['variant'].startswith((algorithm, 'plain')) and
               'processes' not in row['variant'] and (row['batch'], *(row[k] for k in shown)) == (batch, *base)]
        own = list({row['variant']: row for row in own}.values())[::-1]
        names = [row['variant'].removeprefix(f'{algorithm} ') for row in own]
        bars = axis.barh(names, [row['seconds'] for row in own])
        axis.bar_label(bars, [f"{row['seconds']:.2f} s, {row['bytes'] / 2**20:.0f} MiB" for row in own], padding=4)
        axis.set_xlim(0, 1.5 * max((row['seconds'] for row in own), default=1))
        axis.set(xlabel='seconds', title=f'{algorithm} step, batch {batch}, 128²' + (', K = 5' if batch == 2 else ''))
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else '')
    parser.add_argument('-o', '--out', type=Path, default=Path('benchmark_output'), help='folder (%(default)s)')
    parser.add_argument('--groups', nargs='+', choices=GROUPS, default=list(GROUPS), help='what to measure (all)')
    parser.add_argument('--rounds', type=int, default=3, help='timed steps of each variant (%(default)s)')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--tiny', action='store_true', help='tiny images and networks, to try the benchmark itself')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='of each process (%(default)s)')
    args = parser.parse_args()
    if args.tiny:
        BASE.update(width=8, patch=32)
    if args.rounds < 1 or args.threads < 1:
        parser.error('--rounds and --threads must be at least 1')
    about = {'torch': torch.__version__, 'python': platform.python_version(), 'machine': platform.platform(),
             'device': torch.cuda.get_device_name() if args.device == 'cuda' else platform.processor(),
             'threads': args.threads, 'rounds': args.rounds}
    args.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for group in tqdm(args.groups, unit='group'):
        settings, names = GROUPS[group]
        names = names + (CUDA.get(group, []) if args.device == 'cuda' else [])
        for setting in tqdm(settings, unit='setting', leave=False):
            threads = 1 if group == 'processes' else args.threads
            own = measure({**BASE, **setting, 'threads': threads, 'device': args.device}, names, args.rounds)
            if group in ('MTL', 'MAXL'):
                add_floors(own)
            rows += own
            (args.out / 'results.json').write_text(json.dumps({'about': about, 'rows': rows}, indent=1))
    plot(rows, args.out / 'plot.png')
    print('\n'.join(table(rows)))
    most = TOLERANCE[args.device]
    wrong = [row['variant'] for row in rows if row.get('error', 0) > most and 'bf16' not in row['variant']]
    if wrong:
        print(f'error: the gradients of {", ".join(wrong)} are not those of the reference', file=sys.stderr)
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())

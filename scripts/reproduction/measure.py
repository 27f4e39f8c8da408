"""Runs the trainings and tests of a row, and writes down what was measured."""

import csv
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from maxl_sr.errors import UserError
from maxl_sr.utils.files import replacing
from scripts.reproduction.alignment import alignment
from scripts.reproduction.plan import Row, Training, weights

METRICS = ('psnr', 'ssim')


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(command: str, opt: Mapping[str, Any], *more: str) -> None:
    """Run ``maxl_sr.train`` or ``.test`` on an option file."""
    file = Path('experiments', 'reproduce', f"{opt['name']}.yml")
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as partial:
        partial.write_text(yaml.safe_dump(dict(opt), sort_keys=False, allow_unicode=True), encoding='utf-8')
    log = file.with_suffix('.log')
    with open(log, 'w', encoding='utf-8') as output:
        code = subprocess.run([sys.executable, '-m', f'maxl_sr.{command}', '-opt', str(file), *more], stdout=output,
                              stderr=subprocess.STDOUT, env={'CUDA_VISIBLE_DEVICES': '0', **os.environ}).returncode
    if code:
        last = (log.read_text(encoding='utf-8', errors='replace').splitlines() or [''])[-1]
        raise UserError(f"{command} of {opt['name']} ended with exit code {code}, see {log}: {last}")


def train(training: Training) -> None:
    """Run a training, or go on with it, unless it is done."""
    if Path(weights(training.name, 'g')).exists():
        return
    begin = _processor_seconds()
    try:
        _run('train', training.opt, '--auto_resume')
    finally:  # of what was stopped, too
        file = _seconds_file(training)
        if file.parent.is_dir():
            seconds = _seconds(training) + _processor_seconds() - begin
            with replacing(file) as partial:
                partial.write_text(json.dumps(seconds), encoding='utf-8')


def _seconds_file(training: Training) -> Path:
    return Path('experiments', training.name, 'seconds.json')


def _seconds(training: Training) -> float:
    """The processor time of a training so far; 0 where none was written, of a run that was killed."""
    file = _seconds_file(training)
    return float(json.loads(file.read_text(encoding='utf-8'))) if file.exists() else 0


def _of_training(training: Training) -> dict[str, Any]:
    masks = {}  # of all runs of it
    curves: dict[str, dict[int, float]] = {}
    for log in sorted(Path('experiments', training.name).glob('train_*.log'), key=os.path.getmtime):
        at, data = 0, ''
        for line in log.read_text(encoding='utf-8').splitlines():
            if found := re.search(r'iter: *([\d,]+)', line):
                at = int(found[1].replace(',', ''))
            if 'End of training' in line:  # the last validation follows
                at = training.opt['train']['total_iter']
            if found := re.search(r'mask_mean: (\S+)', line):
                masks[at] = float(found[1])
            if found := re.search(r'Validation (.+)', line):
                data = found[1]
            if found := re.search(r'# psnr: (\d+\.\d+)', line):
                curves.setdefault(data, {})[at] = float(found[1])
    return {'name': training.name, 'updates': training.updates, 'iterations': training.opt['train']['total_iter'],
            'seconds': round(_seconds(training)),
            'mask_mean': [list(pair) for pair in sorted(masks.items())],
            'validation': {name: [list(pair) for pair in sorted(curve.items())] for name, curve in curves.items()}}


def _adapted(file: Path) -> dict[str, Any]:
    """The figures of a data set from the table of a test that adapts."""
    with open(file, encoding='utf-8', newline='') as table:
        rows = list(csv.DictReader(table))
    steps = [key for key in rows[0] if key.startswith('psnr_step')]
    last = steps[-1].removeprefix('psnr')
    found: dict[str, Any] = {'images': len(rows)}
    for kind, column in (('noisy', '_noisy'), ('before', '_before'), ('after', last)):
        found[kind] = {metric: [round(float(row[metric + column]), 4) for row in rows] for metric in METRICS}
    found['after']['psnr_steps'] = [[round(float(row[step]), 4) for step in steps] for row in rows]
    found['seconds'] = round(float(np.mean([float(row['seconds']) for row in rows])), 3)
    return found


def _plain(name: str) -> dict[str, Any]:
    """The figures by data set from the log of a test that does not adapt."""
    log = max(Path('results', name).glob('test_*.log'), key=os.path.getmtime).read_text(encoding='utf-8')
    found = {}
    for data, figures in re.findall(r'Validation (.+)\n((?:\t.*\n)+)', log):
        value = dict(re.findall(r'# (\w+): (\d+(?:\.\d+)?)', figures))
        found[data] = {'before': {metric: [float(value[metric])] for metric in METRICS}}
    return found


def processor() -> str:
    """Return the name of the GPU, if there is one, and of the processor, and what this has for low precision."""
    text = Path('/proc/cpuinfo').read_text(encoding='utf-8') if os.path.exists('/proc/cpuinfo') else ''
    name = re.search(r'model name\s*: (.+)', text)
    units = [unit for unit in ('avx512f', 'avx512_bf16', 'amx_bf16') if re.search(rf'\b{unit}\b', text)]
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return ', '.join([*gpu, name[1] if name else 'unknown', *units])


def _commit() -> str:
    if shutil.which('git') is None:
        return 'unknown'
    found = subprocess.run(['git', '-C', str(Path(__file__).parent), 'rev-parse', '--short', 'HEAD'],
                           capture_output=True, text=True)
    return found.stdout.strip() or 'unknown'


def measure(row: Row, scale: str, file: Path) -> None:
    """Test a trained row by every reading of the rate, and write its JSON."""
    found: dict[str, Any] = {'row': row.name, 'scale': scale, 'seed': row.seed, 'commit': _commit(),
                             'processor': processor(), 'torch': torch.__version__,
                             'date': time.strftime('%Y-%m-%d'),
                             'changes': row.changes,
                             'trainings': {one.stage: _of_training(one) for one in row.trainings}, 'data': {}}
    for reading, opt in row.tests.items():
        _run('test', opt)
        if reading:
            tables = {path.stem: _adapted(path) for path in sorted(Path('results', opt['name']).glob('*.csv'))}
        else:
            tables = _plain(opt['name'])
        for data, figures in tables.items():
            entry = found['data'].setdefault(data, {'after': {}})
            after = figures.pop('after', None)
            if after is not None:
                entry['after'][reading] = {**after, 'seconds': figures.pop('seconds')}
            entry.update(figures)
    if any(row.tests):
        for data, cosines in alignment(row).items():
            found['data'][data]['cosine'] = cosines
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as partial:
        partial.write_text(json.dumps(found, indent=1) + '\n', encoding='utf-8')

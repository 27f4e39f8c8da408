"""The benchmark on tiny problems: all variants give the same gradients, and table, figures and plot are written."""

import json

import cv2
import pytest

from tests.helpers import ROOT, python

RUN = ROOT / 'scripts/benchmark/run.py'


def benchmark(tmp_path, *arguments):
    return python(RUN, '--tiny', '--rounds', '1', '--threads', '1', *arguments, cwd=tmp_path)


@pytest.mark.slow
def test_variants_agree_and_everything_is_written(tmp_path):
    done = benchmark(tmp_path, '--groups', 'MTL', 'processes')
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads((tmp_path / 'benchmark_output/results.json').read_text())
    rows = {row['variant']: row for row in content['rows'] if 'failed' not in row}
    for name in ('MTL plain unrolling', 'MTL stored', 'MTL replay', 'MTL stored, together', 'MTL replay, together'):
        assert rows[name]['error'] < 1e-5 and rows[name]['seconds'] > 0 and rows[name]['bytes'] >= 0
    assert 1e-5 < rows['MTL stored, bf16']['error'] < 0.2  # it computes in bfloat16, near the reference
    assert rows['MTL stored']['floor'] > 0 and rows['MTL stored, processes × 2']['processes'] == 2
    # the libraries that are not installed are said to be missing
    failed = {row['variant']: row['failed'] for row in content['rows'] if 'failed' in row}
    assert set(failed) <= {'MTL higher', 'MTL torchopt'} and all('No module' in why for why in failed.values())
    lines = done.stdout.splitlines()
    assert lines[0].startswith('| variant |') and len(lines) == 2 + len(content['rows'])
    assert cv2.imread(str(tmp_path / 'benchmark_output/plot.png')) is not None


def test_unknown_groups_are_refused(tmp_path):
    done = benchmark(tmp_path, '--groups', 'MTA')
    assert done.returncode == 2 and "invalid choice: 'MTA'" in done.stderr
    assert not (tmp_path / 'benchmark_output').exists()

"""A folder of photographs shared among processes: every file once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from maxl_sr.errors import UserError
from maxl_sr.shard import Shard, parse_shard
from maxl_sr.work_list import work_list
from tests.photo_runs import denoise, files, photograph


def test_every_file_is_in_one_share_whatever_the_order():
    names = [Path(f'{folder}/{name}.jpg') for folder in 'abc' for name in range(40)]
    for total in (1, 2, 3, 8, 50, 1000):
        shards = [Shard(number, total) for number in range(1, total + 1)]
        found = [name for shard in reversed(shards) for name in reversed(names) if shard.has(name)]
        assert sorted(found) == sorted(names)
    sizes = [sum(Shard(number, 4).has(name) for name in names) for number in range(1, 5)]
    assert min(sizes) > 15


@pytest.mark.parametrize('text', ['0/3', '4/3', '3', '1/0', '-1/3', '1/3/5', 'a/b', '', '1.0/3', '1/', '/3', ' 1/3',
                                  '1' * 5000 + '/3', '１/３'])
def test_shares_that_are_none_are_refused(call, text):
    code, told = denoise(call, 'in', f'--shard={text}')
    assert code == 2 and 'error: --shard must be I/N, I from 1 to N, or auto' in told.err and not Path('out').exists()


SLURM = {'SLURM_ARRAY_TASK_ID': '5', 'SLURM_ARRAY_TASK_COUNT': '8', 'SLURM_ARRAY_TASK_MIN': '3'}
CLUSTER = ('SLURM_ARRAY_TASK_STEP', 'JOB_COMPLETION_INDEX', 'JOB_COMPLETIONS', *SLURM)


@pytest.mark.parametrize('variables, expected', [
    (SLURM, (3, 8)), ({**SLURM, 'SLURM_ARRAY_TASK_MIN': '0', 'SLURM_ARRAY_TASK_ID': '0'}, (1, 8)),
    ({**SLURM, 'SLURM_ARRAY_TASK_STEP': '2'}, (2, 8)),
    ({key: SLURM[key] for key in ('SLURM_ARRAY_TASK_ID', 'SLURM_ARRAY_TASK_COUNT')}, (5, 8)),
    ({'JOB_COMPLETION_INDEX': '0', 'JOB_COMPLETIONS': '4'}, (1, 4)),
    ({'JOB_COMPLETION_INDEX': '3', 'JOB_COMPLETIONS': '4'}, (4, 4)),
    ({'JOB_COMPLETION_INDEX': '4', 'JOB_COMPLETIONS': '4'}, 'JOB_COMPLETION_INDEX 4 must be less than'),
    ({'JOB_COMPLETION_INDEX': '0'}, 'JOB_COMPLETION_INDEX is there, but not JOB_COMPLETIONS'),
    ({'JOB_COMPLETION_INDEX': 'x', 'JOB_COMPLETIONS': '4'}, "JOB_COMPLETION_INDEX must be an integer, not 'x'"),
    ({**SLURM, 'SLURM_ARRAY_TASK_ID': '11'}, 'task 11 is none of 8 from 3 in steps of 1'),
    ({**SLURM, 'SLURM_ARRAY_TASK_STEP': '4'}, 'task 5 is none of 8 from 3 in steps of 4'),
    ({**SLURM, 'SLURM_ARRAY_TASK_COUNT': ''}, "SLURM_ARRAY_TASK_COUNT must be an integer, not ''"),
    ({}, 'this is no task of an array of Slurm'),
])
def test_shares_of_a_cluster(monkeypatch, variables, expected):
    for name in CLUSTER:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if isinstance(expected, tuple):
        assert parse_shard('auto') == Shard(*expected)
    else:
        with pytest.raises(UserError, match=re.escape(expected)):
            parse_shard('auto')


@pytest.mark.slow
def test_four_processes_restore_every_file_once(folder):
    for number in range(12):
        photograph(folder / f'in/more/{number}.png', number)
    names = files(folder / 'in')
    processes = []
    for number in (3, 1, 4, 2):
        inputs = ['in'] if number % 2 else [str(folder / 'in')]  # as it may be on another machine
        processes.append(subprocess.Popen(
            [sys.executable, '-m', 'maxl_sr', 'denoise', *inputs, '-o', 'out', '--steps', '0', '--device', 'cpu',
             '--shard', f'{number}/4', '--report', 'report'], stderr=subprocess.PIPE, text=True))
    told = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, told
    closing = [re.search(r'restored (\d+), skipped (\d+), failed (\d+)', text) for text in told]
    assert sum(int(match[1]) for match in closing) == len(names) == 14
    assert all(match.group(2, 3) == ('0', '0') for match in closing)
    assert files(folder / 'out') == names
    rows = [line for table in (folder / 'report').rglob('report.csv') for line in table.read_text().splitlines()[1:]]
    assert len(rows) == 14


def test_a_share_without_files_is_no_mistake(call, folder):
    names = [job.name for job in work_list([Path('in')], Path('out'))]
    empty = next(number for number in range(1, 9) if not any(Shard(number, 8).has(name) for name in names))
    code, told = denoise(call, 'in', '--shard', f'{empty}/8')
    assert code == 0 and re.fullmatch(r'restored 0, skipped 0, failed 0, [\d.]+ s\n', told.err)

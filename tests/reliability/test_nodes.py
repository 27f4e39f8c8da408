"""Two nodes on the loopback: one loses its process, and the training goes on by itself from the last checkpoint."""

import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
import yaml

from tests.helpers import free_port, train_options


@pytest.mark.slow
def test_a_training_on_two_nodes_survives_a_killed_process(make_pairs, tmp_path):
    opt = train_options('MetaTransferModel', make_pairs())
    opt['train']['total_iter'] = 40
    opt['logger']['save_checkpoint_freq'] = 5
    del opt['datasets']['val'], opt['val']
    (tmp_path / 'x.yml').write_text(yaml.safe_dump(opt))
    command = [sys.executable, '-m', 'torch.distributed.run', '--nnodes=2', '--nproc_per_node=1', '--max-restarts=3',
               '--rdzv_backend=c10d', f'--rdzv_endpoint=127.0.0.1:{free_port()}', '--rdzv_id=x',
               '--local-addr=127.0.0.1', '--monitor-interval=0.1', '-m', 'maxl_sr.train', '-opt', 'x.yml', '--launcher',
               'pytorch', '--auto_resume']  # yapf: disable
    nodes = [subprocess.Popen(command, cwd=tmp_path, text=True, stderr=subprocess.STDOUT,
                              stdout=open(tmp_path / f'node{number}.txt', 'w'),
                              env={**os.environ, 'OMP_NUM_THREADS': '1'}) for number in range(2)]
    try:
        states = tmp_path / 'experiments/tiny/training_states'
        until = time.monotonic() + 120
        while not (states / '10.state').exists():
            assert time.monotonic() < until and all(node.poll() is None for node in nodes), \
                (tmp_path / 'node0.txt').read_text()[-3000:]
            time.sleep(0.02)
        workers = psutil.Process(nodes[1].pid).children()
        os.kill(workers[0].pid, signal.SIGKILL)
        codes = [node.wait(timeout=120) for node in nodes]
    finally:
        for node in nodes:
            for process in (*psutil.Process(node.pid).children(recursive=True), node) if node.poll() is None else ():
                process.kill()
    told = ''.join((tmp_path / f'node{number}.txt').read_text() for number in range(2))
    assert codes == [0, 0], told[-5000:]
    resumed = re.findall(r'Resuming training from epoch: \d+, iter: (\d+)', told)
    assert resumed and int(resumed[-1]) >= 10
    assert 'Traceback' not in told.replace('Traceback (most recent call last) <NONE>', '')
    saved = torch.load(tmp_path / 'experiments/tiny/models/net_g_latest.pth')['params']
    assert all(torch.isfinite(value).all() for value in saved.values())
    assert (states / '40.state').is_file()

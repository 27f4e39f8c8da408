"""Two gloo processes against one process on the joined batch, and the launcher."""

import maxl_sr  # noqa: F401  isort: skip  (first: BasicSR does not import without it, in a spawned process neither)
import os
import subprocess
import sys

import basicsr.models
import pytest
import torch
import yaml
from conftest import train_options

ITERATION = {'MAXLModel (a)': 1, 'MAXLModel (b)': 2, 'MetaTransferModel': 1}


def joined_batch():
    generator = torch.Generator().manual_seed(0)
    gt = torch.rand(4, 3, 12, 12, generator=generator, dtype=torch.float64)
    return {'gt': gt, 'lq': (gt + 0.1 * torch.randn(gt.shape, generator=generator, dtype=gt.dtype)).clamp(0, 1)}


def outer_gradient(rank, world_size, kind, opt, out):
    """One step on the rank's share of the joined batch; rank 0 saves the gradient that the optimiser saw."""
    torch.set_num_threads(1)
    if world_size > 1:
        torch.distributed.init_process_group('gloo', init_method=f'file://{out}.rendezvous', rank=rank,
                                             world_size=world_size)
    torch.manual_seed(5 + rank)  # other weights on every rank, until they are broadcast
    opt.update(is_train=True, dist=world_size > 1, rank=rank, world_size=world_size)
    model = basicsr.models.build_model(opt)
    model.net_g.double()
    model.net_m.double()
    share = 4 // world_size
    model.feed_data({key: value[rank * share:(rank + 1) * share] for key, value in joined_batch().items()})
    model.optimize_parameters(ITERATION[kind])
    nets = {'MAXLModel (a)': [model.net_g], 'MAXLModel (b)': [model.net_m]}.get(kind, [model.net_g, model.net_m])
    if rank == 0:
        torch.save([w.grad for net in nets for w in net.parameters() if w.grad is not None], out)
    if world_size > 1:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize('kind', ITERATION)
def test_two_processes_equal_one_on_the_joined_batch(kind, make_pairs, tmp_path):
    results = []
    for world_size in (1, 2):
        opt = train_options(kind.split()[0], make_pairs(f'pairs{world_size}'))
        out = str(tmp_path / f'{world_size}.pt')
        if world_size == 1:
            outer_gradient(0, 1, kind, opt, out)
        else:
            torch.multiprocessing.spawn(outer_gradient, (2, kind, opt, out), nprocs=2)
        results.append(torch.load(out))
    one, two = results
    assert len(one) == len(two) > 0
    for a, b in zip(one, two):
        assert (a - b).norm() <= 1e-6 * a.norm()
        assert a.norm() > 0


@pytest.mark.parametrize('model', ['MetaTransferModel', 'SRModel'])
def test_launcher_pytorch_runs_with_gloo(model, make_pairs, tmp_path):
    opt = train_options('MetaTransferModel', make_pairs())
    if model == 'SRModel':  # BasicSR's own model wraps its network with DistributedDataParallel
        opt['model_type'] = model
        opt['find_unused_parameters'] = True  # it does not use the auxiliary head
        del opt['network_m'], opt['train']['aux_opt'], opt['train']['inner'], opt['val']['adapt']
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    done = subprocess.run([sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2', '--master_port=29711',
                           '-m', 'maxl_sr.train', '-opt', 'opt.yml', '--launcher', 'pytorch'], cwd=tmp_path, text=True,
                          capture_output=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr[-3000:]
    saved = torch.load(tmp_path / 'experiments/tiny/models/net_g_latest.pth')['params']
    assert all(torch.isfinite(w).all() for w in saved.values())

"""Two gloo processes against one process on the joined batch, and the launcher."""

import maxl_sr  # noqa: F401  isort: skip  (first: BasicSR does not import without it, in a spawned process neither)
import os
import re

import basicsr.models
import pytest
import torch
import yaml

from maxl_sr.utils import distributed
from tests.helpers import free_port, meta_test_options, python, train_options

ITERATION = {'MAXLModel (a)': 1, 'MAXLModel (b)': 2, 'MetaTransferModel': 1, 'MetaTransferModel with learned rates': 1}


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
    if model.inner_rates is not None:
        model.inner_rates.double()
    share = 4 // world_size
    model.feed_data({key: value[rank * share:(rank + 1) * share] for key, value in joined_batch().items()})
    model.optimize_parameters(ITERATION[kind])
    nets = {'MAXLModel (a)': [model.net_g], 'MAXLModel (b)': [model.net_m],
            'MetaTransferModel': [model.net_g, model.net_m]}.get(kind, [model.net_g, model.net_m, model.inner_rates])
    if rank == 0:
        torch.save([w.grad for net in nets for w in net.parameters() if w.grad is not None], out)
    distributed.leave()


@pytest.mark.slow
@pytest.mark.parametrize('kind', ITERATION)
def test_two_processes_equal_one_on_the_joined_batch(kind, make_pairs, tmp_path):
    results = []
    for world_size in (1, 2):
        opt = train_options(kind.split()[0], make_pairs(f'pairs{world_size}'))
        if 'learned' in kind:
            opt['train']['inner'].update(learn_lr='tensor')
            opt['train']['optim_r'] = dict(opt['train']['optim_g'])
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


def torchrun(command, opt, tmp_path, processes=2):
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(opt))
    done = python('-m', 'torch.distributed.run', f'--nproc_per_node={processes}',
                           f'--master_port={free_port()}', '-m', f'maxl_sr.{command}', '-opt', 'opt.yml', '--launcher',
                           'pytorch', cwd=tmp_path,
                          env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr[-3000:]


def without_seconds(path):
    return [line.rsplit(',', 1)[0] for line in path.read_text().splitlines()]


def reported(folder):
    log = next(folder.glob('*.log')).read_text()
    return re.findall(r'# (\w+): ([\d.]+)', log)


@pytest.mark.slow
@pytest.mark.parametrize('images, processes', [(5, 2), (1, 2), (2, 3)])
def test_a_sharded_test_gives_the_report_of_one_process(images, processes, make_pairs, run, tmp_path):
    pairs = make_pairs(count=images)
    assert run('train', train_options('MetaTransferModel', pairs)) == 0
    opt = meta_test_options(pairs, tmp_path / 'experiments/tiny/models')
    opt['val']['save_img'] = True
    opt['name'] = 'one'
    assert run('test', opt) == 0
    opt['name'] = 'several'
    torchrun('test', opt, tmp_path, processes)
    one, several = (tmp_path / 'results' / name for name in ('one', 'several'))
    assert without_seconds(one / 'tiny.csv') == without_seconds(several / 'tiny.csv')
    assert len(without_seconds(one / 'tiny.csv')) == 1 + images
    assert reported(one) == reported(several) and len(reported(one)) == 4
    pictures = {name: {path.name.replace(name, ''): path.read_bytes() for path in
                       (tmp_path / f'results/{name}/visualization/tiny').iterdir()} for name in ('one', 'several')}
    assert pictures['one'] == pictures['several'] and len(pictures['one']) == 5 * images


@pytest.mark.slow
def test_checkpoints_are_the_same_for_any_number_of_processes(make_pairs, run, tmp_path):
    opt = train_options('MetaTransferModel', make_pairs())
    opt['train']['inner'].update(learn_lr='tensor')
    opt['train']['optim_r'] = opt['train']['optim_g']
    torchrun('train', opt, tmp_path)
    saved = torch.load(tmp_path / 'experiments/tiny/models/net_g_6.pth')
    assert set(saved) == {'params', 'inner_rates'} and not any('module.' in key for key in saved['params'])
    opt['train']['total_iter'] = 8
    assert run('train', opt, '--auto_resume') == 0  # by one process


def reduced(rank, out):
    torch.distributed.init_process_group('gloo', init_method=f'file://{out}.rendezvous', rank=rank, world_size=2)
    distributed.BUCKET = 100  # bytes
    generator = torch.Generator().manual_seed(rank)
    sizes = [(3, 4), (30, ), (1, ), (2, 2), ()]
    tensors = [torch.rand(size, generator=generator) for size in sizes]
    tensors.insert(2, torch.rand(5, generator=generator, dtype=torch.float64))
    own = [tensor.clone() for tensor in tensors]
    distributed.all_reduce(tensors, mean=True)
    torch.save((own, tensors), f'{out}{rank}')
    torch.distributed.destroy_process_group()


def test_all_reduce_in_buckets(tmp_path):
    out = str(tmp_path / 'out')
    torch.multiprocessing.spawn(reduced, (out, ), nprocs=2)
    (own0, both0), (own1, both1) = torch.load(f'{out}0'), torch.load(f'{out}1')
    for a, b, x, y in zip(own0, own1, both0, both1):
        torch.testing.assert_close(x, (a + b) / 2)
        assert torch.equal(x, y)


@pytest.mark.slow
@pytest.mark.parametrize('model', ['MetaTransferModel', 'SRModel'])
def test_launcher_pytorch_runs_with_gloo(model, make_pairs, tmp_path):
    opt = train_options('MetaTransferModel', make_pairs())
    if model == 'SRModel':  # BasicSR's own model wraps its network with DistributedDataParallel
        opt['model_type'] = model
        opt['find_unused_parameters'] = True  # it does not use the auxiliary head
        del opt['network_m'], opt['train']['aux_opt'], opt['train']['inner'], opt['val']['adapt']
    torchrun('train', opt, tmp_path)
    saved = torch.load(tmp_path / 'experiments/tiny/models/net_g_latest.pth')['params']
    assert all(torch.isfinite(w).all() for w in saved.values())

"""Trainings on a GPU by their option files: the CUDA graph is captured, they go on where they stopped."""

import pytest
import torch

from tests.helpers import batch, build_model, meta_test_options, train_options

pytestmark = pytest.mark.gpu
KINDS = {
    'MAXLModel': [{}, {'autocast': 'bf16'}, {'ema_decay': 0.9}],
    'MetaTransferModel': [{}, {'autocast': 'bf16'}, {'ema_decay': 0.9}, {'inner': {'meta_gradient': 'replay'}},
                          {'inner': {'params': 'all'}},
                          {'inner': {'learn_lr': 'tensor'}, 'optim_r': {'type': 'Adam', 'lr': 0.05}}],
}
CASES = [(model, change) for model, changes in KINDS.items() for change in changes]


def options(model, pairs, change, num_gpu=1):
    opt = train_options(model, pairs)
    inner = {**opt['train']['inner'], **change.get('inner', {})}
    opt['train'].update({**change, 'inner': inner})
    opt['num_gpu'] = num_gpu
    return opt


def steps_of(model):
    return [step for step in (getattr(model, name, None) for name in ('_step', '_multi_task_step', '_mask_step'))
            if step is not None]


@pytest.mark.parametrize('model, change', CASES)
def test_an_iteration_is_a_cuda_graph(model, change, make_pairs, tmp_path):
    built = build_model(options(model, make_pairs(), change), tmp_path)
    for iteration in range(1, 13):
        built.feed_data(batch(seed=iteration))
        built.optimize_parameters(iteration)
    assert steps_of(built) and all(step._graph is not None for step in steps_of(built))


@pytest.mark.parametrize('model, change', CASES)
def test_a_training_ends_resumes_and_is_tested(model, change, make_pairs, run, tmp_path, capfd):
    pairs = make_pairs()
    opt = options(model, pairs, change, 'auto')
    opt['train']['total_iter'] = 16
    assert run('train', opt) == 0
    text = capfd.readouterr()
    assert 'cannot run as a CUDA graph' not in text.out + text.err
    opt['train']['total_iter'] = 24
    (tmp_path / 'experiments/tiny/models/net_g_latest.pth').unlink()
    assert run('train', opt, '--auto_resume') == 0
    models = tmp_path / 'experiments/tiny/models'
    saved = torch.load(models / 'net_g_latest.pth', map_location='cpu')
    assert all(torch.isfinite(weight).all() for weight in saved['params'].values())
    figures = []
    for num_gpu in (0, 1):
        test_opt = meta_test_options(pairs, models)
        test_opt.update(num_gpu=num_gpu, name=f'test_{num_gpu}')
        test_opt['val']['adapt'].update(params=opt['train']['inner'].get('params', 'heads'))
        assert run('test', test_opt) == 0
        table = next((tmp_path / 'results' / f'test_{num_gpu}').rglob('*.csv')).read_text().splitlines()
        figures.append([dict(zip(table[0].split(','), row.split(','))) for row in table[1:]])
    for here, there in zip(*figures):
        assert float(here['psnr_before']) == pytest.approx(float(there['psnr_before']), abs=0.02)


@pytest.mark.parametrize('model', KINDS)
def test_a_resumed_training_is_the_undisturbed_one(model, make_pairs, run, tmp_path):
    trained = []
    for name, parts in (('whole', (14, )), ('parts', (8, 14))):
        opt = options(model, make_pairs(name), {'cuda_graph': True})
        opt['name'] = name
        for total in parts:
            opt['train']['total_iter'] = total
            assert run('train', opt, *(['--auto_resume'] if total != parts[0] else [])) == 0
        saved = torch.load(tmp_path / f'experiments/{name}/models/net_g_latest.pth', map_location='cpu')
        trained.append(saved['params'])
    for name, weight in trained[0].items():
        torch.testing.assert_close(weight, trained[1][name], rtol=1e-3, atol=1e-4)

"""Both models through BasicSR's own pipelines: training, checkpoints, meta-test, figures before and after."""

import csv
from copy import deepcopy

import basicsr.models
import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_metric
from conftest import test_options as options_for_test
from conftest import train_options

from maxl_sr.adaptation.checkpoint import check_rates, saved_rates
from maxl_sr.compare import results
from maxl_sr.errors import UserError
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.meta import Task, adapt

MODELS = ['MAXLModel', 'MetaTransferModel']


def build(opt, tmp_path, is_train=True):
    """The model of an option dictionary, without BasicSR's pipeline around it."""
    opt = deepcopy(opt)  # BasicSR pops from it
    opt.update(is_train=is_train, dist=False, rank=0, world_size=1)
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path), visualization=str(tmp_path / 'pictures'),
                       results_root=str(tmp_path))
    return basicsr.models.build_model(opt)


def batch(count=2, size=16, seed=0):
    gt = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    lq = (gt + 0.1 * torch.randn(gt.shape, generator=torch.Generator().manual_seed(seed + 1))).clamp(0, 1)
    return {'lq': lq, 'gt': gt, 'lq_path': [f'{seed}.png'] * count, 'gt_path': [f'{seed}.png'] * count}


def weights(net):
    return {name: w.clone() for name, w in net.state_dict().items()}


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize('model', MODELS)
def test_train_and_test(model, make_pairs, run, tmp_path):
    pairs = make_pairs(count=3)
    assert run('train', train_options(model, pairs)) == 0
    models = tmp_path / 'experiments/tiny/models'
    assert sorted(path.name for path in models.iterdir()) == sorted(
        f'net_{net}_{it}.pth' for net in 'gm' for it in (2, 4, 6, 'latest'))
    opt = options_for_test(pairs, models)
    opt['val']['save_img'] = True
    assert run('test', opt) == 0
    with open(tmp_path / 'results/tiny_test/tiny.csv') as file:
        rows = list(csv.DictReader(file))
    figures = ['noisy', 'before', 'step1', 'step2']
    assert list(rows[0]) == ['image', *(f'psnr_{f}' for f in figures), *(f'ssim_{f}' for f in figures), 'seconds']
    pictures = tmp_path / 'results/tiny_test/visualization/tiny'
    assert len(list(pictures.iterdir())) == 5 * len(rows)
    for row in rows:  # the figures are those of the 8-bit pictures
        gt = cv2.imread(str(pictures / f"{row['image']}_gt.png"))
        for kind, key in (('noisy', 'psnr_noisy'), ('before', 'psnr_before'), ('after', 'psnr_step2')):
            picture = cv2.imread(str(pictures / f"{row['image']}_{kind}.png"))
            mse = np.mean((picture.astype(float) - gt) ** 2)
            assert float(row[key]) == pytest.approx(10 * np.log10(255 ** 2 / mse))
        noisy = cv2.imread(str(pictures / f"{row['image']}_noisy.png"))
        assert np.array_equal(noisy, cv2.imread(str(pairs / 'lq' / f"{row['image']}.png")))
    log = next((tmp_path / 'results/tiny_test').glob('*.log')).read_text()
    mean = np.mean([float(row['psnr_before']) for row in rows])
    assert f'# psnr_before: {mean:.4f}' in log and '# psnr: ' in log
    table = results([tmp_path / 'results/tiny_test'])[0].splitlines()
    assert len(table) == 3 and table[2].startswith('| tiny (3) | tiny_test | ') and f' | {mean:.2f} / ' in table[2]


def test_tensorboard_and_best_record_get_both_figures(make_pairs, run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    opt = train_options('MetaTransferModel', make_pairs())
    opt['val']['val_freq'] = 3
    opt['val']['save_img'] = True
    opt['logger']['use_tb_logger'] = True
    assert run('train', opt) == 0
    events = EventAccumulator(str(tmp_path / 'tb_logger/tiny'))
    events.Reload()
    assert {'metrics/tiny-val/psnr', 'metrics/tiny-val/psnr_before', 'losses/l_pix'} <= set(events.Tags()['scalars'])
    log = next((tmp_path / 'experiments/tiny').glob('*.log')).read_text()
    assert log.count('# psnr_before: ') == log.count('# psnr: ') == 3 and '\tBest: ' in log.split('# psnr_before')[1]
    assert len(list((tmp_path / 'experiments/tiny/visualization/00').iterdir())) == 3 * 5  # 3, 6 and the end


def test_maxl_alternates(make_pairs, tmp_path):
    opt = train_options('MAXLModel', make_pairs())
    opt['train']['alternate_every'] = 2
    model = build(opt, tmp_path)
    changed = []
    for iteration in range(1, 9):
        before = weights(model.net_g), weights(model.net_m)
        model.feed_data(batch())
        model.optimize_parameters(iteration)
        changed.append((not equal(before[0], weights(model.net_g)), not equal(before[1], weights(model.net_m))))
    assert changed == 2 * [(True, False), (True, False), (False, True), (False, True)]


def test_meta_transfer_trains_both_networks(make_pairs, tmp_path):
    model = build(train_options('MetaTransferModel', make_pairs()), tmp_path)
    before = weights(model.net_g), weights(model.net_m)
    model.feed_data(batch())
    model.optimize_parameters(1)
    for part in ('body', 'primary_head', 'aux_head'):
        own = {n: w for n, w in before[0].items() if n.startswith(part)}
        assert not equal(own, weights(model.net_g))
    assert not equal(before[1], weights(model.net_m))


@pytest.mark.parametrize('model', MODELS)
@pytest.mark.parametrize('aux, mask', [(True, True), (True, False), (False, False)])
@pytest.mark.parametrize('params', ['heads', 'all'])
def test_every_ablation_is_a_matter_of_options(model, aux, mask, params, make_pairs, tmp_path):
    opt = train_options(model, make_pairs())
    if not aux:
        del opt['train']['aux_opt']
    if not mask:
        del opt['network_m']
    if model == 'MetaTransferModel':
        opt['train']['inner']['params'] = params
    opt['val']['adapt']['params'] = params
    built = build(opt, tmp_path)
    before = weights(built.net_g)
    for iteration in (1, 2, 3):
        built.feed_data(batch())
        built.optimize_parameters(iteration)
    assert not equal(before, weights(built.net_g))
    built.feed_data(batch(count=1))
    built.test()
    assert built.output.shape == (1, 3, 16, 16)


@pytest.mark.parametrize('model', MODELS)
@pytest.mark.parametrize('training', [True, False])
def test_meta_test_leaves_weights_and_mode_as_they_were(model, training, make_pairs, tmp_path):
    built = build(train_options(model, make_pairs()), tmp_path)
    built.net_g.train(training)
    before = weights(built.net_g), weights(built.net_m)
    built.feed_data(batch(count=1))
    built.test()
    assert not torch.equal(built.output, built.adapted.before)
    assert equal(before[0], weights(built.net_g)) and equal(before[1], weights(built.net_m))
    assert built.net_g.training is training and built.net_m.training


def test_the_order_of_images_changes_nothing(make_pairs, tmp_path):
    built = build(train_options('MAXLModel', make_pairs()), tmp_path)
    images = [batch(count=1, seed=seed) for seed in range(3)]

    def restored(order):
        results = {}
        for index in order:
            built.feed_data(images[index])
            built.test()
            results[index] = built.output
        return results

    forwards, backwards = restored([0, 1, 2]), restored([2, 1, 0])
    assert all(torch.equal(forwards[i], backwards[i]) for i in range(3))


def test_without_adapt_the_model_tests_like_srmodel(make_pairs, tmp_path):
    opt = train_options('MAXLModel', make_pairs())
    del opt['val']['adapt']
    built = build(opt, tmp_path)
    built.feed_data(batch(count=1))
    built.test()
    with torch.no_grad():
        assert torch.equal(built.output, built.net_g(built.lq))
    assert list(built.get_current_visuals()) == ['lq', 'result', 'gt']


def test_the_before_figure_is_that_of_the_plain_network(make_pairs, tmp_path):
    built = build(train_options('MAXLModel', make_pairs()), tmp_path)
    built.feed_data(batch(count=1))
    built.test()
    with torch.no_grad():
        torch.testing.assert_close(built.adapted.before, built.net_g(built.lq))


def test_ema_weights_are_tested_and_saved(make_pairs, run, tmp_path):
    opt = train_options('MetaTransferModel', make_pairs())
    opt['train']['ema_decay'] = 0.5
    assert run('train', opt) == 0
    saved = torch.load(tmp_path / 'experiments/tiny/models/net_g_latest.pth')
    assert set(saved) == {'params', 'params_ema'} and not equal(saved['params'], saved['params_ema'])


def test_the_networks_are_drop_ins_for_basicsr_models(make_pairs, run):
    opt = train_options('MetaTransferModel', make_pairs())
    opt['model_type'] = 'SRModel'
    del opt['network_m'], opt['train']['aux_opt'], opt['train']['inner'], opt['val']['adapt']
    opt['train']['pixel_opt']['type'] = 'MaskedReconstructionLoss'
    assert run('train', opt) == 0


def test_basicsr_paired_data_set_serves_as_well(make_pairs, run, tmp_path):
    opt = train_options('MetaTransferModel', make_pairs())
    for section in opt['datasets'].values():
        section['type'] = 'PairedImageDataset'
        section.pop('center_crop', None)
    assert run('train', opt) == 0


def test_images_without_ground_truth_are_restored(make_pairs, run, tmp_path):
    pairs = make_pairs(count=2)
    assert run('train', train_options('MAXLModel', pairs)) == 0
    opt = options_for_test(pairs, tmp_path / 'experiments/tiny/models')
    opt['datasets'] = {'test_1': {'name': 'own', 'type': 'SingleImageDataset', 'dataroot_lq': f'{pairs}/lq',
                                  'io_backend': {'type': 'disk'}}}
    opt['val'].update(save_img=True, metrics=None)
    assert run('test', opt) == 0
    assert (tmp_path / 'results/tiny_test/own.csv').read_text().startswith('image,seconds\n')
    pictures = sorted(path.name for path in (tmp_path / 'results/tiny_test/visualization/own').iterdir())
    assert pictures == [f'0{i}_{kind}.png' for i in range(2) for kind in ('after', 'before', 'mask', 'noisy')]


def test_a_metric_without_ground_truth_is_measured_before_too(make_pairs, run, tmp_path):
    pairs = make_pairs(count=1, height=200, width=300)
    assert run('train', train_options('MAXLModel', pairs)) == 0
    opt = options_for_test(pairs, tmp_path / 'experiments/tiny/models')
    opt['datasets'] = {'test_1': {'name': 'own', 'type': 'SingleImageDataset', 'dataroot_lq': f'{pairs}/lq',
                                  'io_backend': {'type': 'disk'}}}
    opt['val']['metrics'] = {'niqe': {'type': 'calculate_niqe', 'crop_border': 0, 'better': 'lower'}}
    assert run('test', opt) == 0
    assert (tmp_path / 'results/tiny_test/own.csv').read_text().startswith(
        'image,niqe_noisy,niqe_before,niqe_step1,niqe_step2,seconds\n')
    log = next((tmp_path / 'results/tiny_test').glob('*.log')).read_text()
    assert '# niqe_before: ' in log and '# niqe_before: 0.0000' not in log


def test_the_ground_truth_of_an_earlier_image_is_forgotten(make_pairs, tmp_path):
    built = build(train_options('MAXLModel', make_pairs()), tmp_path)
    built.feed_data(batch())
    built.feed_data({'lq': batch(count=1)['lq'], 'lq_path': ['x.png']})
    built.test()
    assert list(built.get_current_visuals()) == ['lq', 'result', 'before', 'mask']


def test_a_full_disk_leaves_no_half_checkpoint(make_pairs, tmp_path, monkeypatch):
    built = build(train_options('MAXLModel', make_pairs()), tmp_path)

    def full(state, path):
        with open(path, 'wb') as file:
            file.write(b'half')
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(torch, 'save', full)
    monkeypatch.setattr('time.sleep', lambda seconds: None)  # BasicSR waits and tries again
    with pytest.raises(UserError, match='cannot write .*net_m_7.pth .*no checkpoint had been saved yet'):
        built.save(0, 7)
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.parametrize('section, key, near', [
    ('train', 'alternate_evry', 'alternate_every'), ('train', 'aux_optt', 'aux_opt'), ('val', 'adpat', 'adapt'),
    ('path', 'strict_loadm', 'strict_load_m'),
])
def test_unknown_keys_of_the_sections_are_refused(section, key, near, make_pairs, tmp_path):
    opt = train_options('MAXLModel', make_pairs())
    opt[section][key] = 1
    with pytest.raises(UserError, match=f"{section}: unknown key '{key}'; did you mean '{near}'"):
        build(opt, tmp_path)


def test_plain_fine_tuning_sums_over_the_samples(make_pairs, tmp_path):
    opt = train_options('MetaTransferModel', make_pairs())
    del opt['network_m'], opt['train']['aux_opt']
    opt['train']['pixel_opt']['reduction'] = 'sum'
    built = build(opt, tmp_path)
    data = batch(count=3)
    with torch.no_grad():
        expected = (built.net_g(data['lq']) - data['gt']).abs().sum()
    built.feed_data(data)
    built.optimize_parameters(1)
    assert built.log_dict['l_pix'] == pytest.approx(expected.item(), rel=1e-5)


def with_learned_rates(opt, learn_lr='tensor', per_step=True):
    opt['train']['inner'].update(learn_lr=learn_lr, per_step=per_step)
    opt['train']['optim_r'] = {'type': 'Adam', 'lr': 0.05}
    opt['val']['adapt'].pop('lr')
    return opt


@pytest.mark.parametrize('learn_lr', ['tensor', 'parameter'])
@pytest.mark.parametrize('meta_gradient', ['stored', 'replay'])
def test_learned_rates_are_trained_saved_and_used_at_test(learn_lr, meta_gradient, make_pairs, run, tmp_path):
    pairs = make_pairs(count=2)
    opt = with_learned_rates(train_options('MetaTransferModel', pairs), learn_lr)
    opt['train']['inner']['meta_gradient'] = meta_gradient
    assert run('train', opt) == 0
    log = next((tmp_path / 'experiments/tiny').glob('*.log')).read_text()
    assert 'inner_lr_max: ' in log and 'MaskedReconstructionLoss, inner rates as learned' in log
    path = tmp_path / 'experiments/tiny/models/net_g_latest.pth'
    rates = saved_rates(path)
    assert rates.kind() == ('heads', learn_lr, 2)
    assert all(not torch.equal(rate, torch.full_like(rate, np.log(0.1))) for rate in rates.parameters())

    test_opt = options_for_test(pairs, path.parent)
    test_opt['val']['adapt'] = {'steps': 3, 'params': 'heads'}  # the third step has the rates of the second
    built = build(test_opt, tmp_path, is_train=False)
    built.feed_data(batch(count=1))
    built.test()
    task = Task(built.net_g, MaskedReconstructionLoss(), built.lq, built.net_m(built.lq).detach())
    of_step = [{name: rate[min(k, 1)].exp().detach() for name, rate in
                ((key.replace('/', '.'), rate) for key, rate in rates.log_rates.items())} for k in range(3)]
    *_, (adapted, _) = adapt(task, 3, rates=of_step)
    restored = task.restored(adapted).detach()
    torch.testing.assert_close(built.output, restored, rtol=0, atol=1e-6)
    test_opt['val']['adapt']['lr'] = 0.1  # a rate of the option file wins
    assert build(test_opt, tmp_path, is_train=False).adapter.rate() == 0.1


def test_learned_rates_go_on_in_a_second_training(make_pairs, run, tmp_path):
    opt = with_learned_rates(train_options('MetaTransferModel', make_pairs()))
    assert run('train', opt) == 0
    path = tmp_path / 'experiments/tiny/models/net_g_latest.pth'
    opt['path']['pretrain_network_g'] = str(path)
    built = build(opt, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(built.inner_rates.parameters(), saved_rates(path).parameters()))
    opt['train']['inner']['per_step'] = False
    assert run('train', opt) == 2


@pytest.mark.parametrize('change, message', [
    (lambda opt: opt['train'].pop('optim_r'), "key 'optim_r'"),
    (lambda opt: opt['train']['inner'].update(learn_lr=False), 'optim_r is given, but inner: learn_lr is no'),
    (lambda opt: (opt['train']['inner'].update(learn_lr='no'), opt['train'].pop('optim_r')), 'per_step is of learned'),
    (lambda opt: opt['train']['inner'].update(per_step=1), 'per_step must be true or false, not 1'),
    (lambda opt: opt['val']['adapt'].update(params='all'), 'learned rates are those of params: heads'),
    (lambda opt: opt['val']['adapt'].update(optimizer='adam'), 'learned rates are those of optimizer: sgd'),
    (lambda opt: opt['train'].update(autocast='fp16'), 'autocast must be one of no, bf16'),
    (lambda opt: (opt['train'].update(autocast='bf16'), opt['train']['inner'].update(samples='together')),
     'autocast: bf16 needs inner: samples: one_by_one'),
    (lambda opt: opt['train']['aux_opt'].update(fixed_mask='edges'), 'fixed_mask and network_m are given'),
    (lambda opt: opt['train'].update(cuda_graph='yes'), 'cuda_graph must be true or false'),
    (lambda opt: opt.update(network_g={'type': 'RIDNet'}), 'network_g: type: RIDNet has no auxiliary head'),
])
def test_wrong_options_of_learned_rates_are_refused(change, message, make_pairs, tmp_path):
    opt = with_learned_rates(train_options('MetaTransferModel', make_pairs()))
    change(opt)
    with pytest.raises(UserError, match=message):
        build(opt, tmp_path)


def test_rates_of_another_head_are_refused(make_pairs, tmp_path):
    built = build(with_learned_rates(train_options('MetaTransferModel', make_pairs())), tmp_path)
    del built.inner_rates.log_rates['aux_head/0/weight']
    with pytest.raises(UserError, match='its inner rates lack one for aux_head.0.weight'):
        check_rates(built.inner_rates, built.net_g)


@pytest.mark.parametrize('free, choice', [(2 ** 40, 'stored'), (2 ** 10, 'replay')])
def test_auto_chooses_the_meta_gradient_by_free_memory(free, choice, make_pairs, tmp_path, monkeypatch):
    monkeypatch.setattr('maxl_sr.models.meta_transfer_model.free_memory', lambda device: free)
    built = build(train_options('MetaTransferModel', make_pairs()), tmp_path)
    built.feed_data(batch())
    built.optimize_parameters(1)
    assert built._meta_gradient == choice


@pytest.mark.parametrize('meta_gradient', ['stored', 'replay'])
def test_autocast_stays_near_float32(meta_gradient, make_pairs, tmp_path):
    grads = []
    for autocast in ('no', 'bf16'):
        opt = train_options('MetaTransferModel', make_pairs(autocast))
        opt['train'].update(autocast=autocast)
        opt['train']['inner'].update(meta_gradient=meta_gradient)
        torch.manual_seed(0)
        built = build(opt, tmp_path)
        built.feed_data(batch())
        built.optimize_parameters(1)
        grads.append(torch.cat([w.grad.flatten() for w in (*built.net_g.parameters(), *built.net_m.parameters())]))
    assert not torch.equal(*grads) and (grads[0] - grads[1]).norm() < 0.1 * grads[0].norm()


def test_samples_together_train_like_one_by_one(make_pairs, tmp_path):
    trained = []
    for samples in ('one_by_one', 'together'):
        opt = train_options('MetaTransferModel', make_pairs(samples))
        opt['train']['inner'].update(samples=samples)
        torch.manual_seed(0)
        built = build(opt, tmp_path)
        built.feed_data(batch())
        built.optimize_parameters(1)
        trained.append(torch.cat([w.grad.flatten() for w in (*built.net_g.parameters(), *built.net_m.parameters())]))
    assert (trained[0] - trained[1]).norm() < 1e-5 * trained[0].norm()


def test_maxl_runs_in_autocast(make_pairs, tmp_path):
    opt = train_options('MAXLModel', make_pairs())
    opt['train']['autocast'] = 'bf16'
    built = build(opt, tmp_path)
    for iteration in (1, 2):
        built.feed_data(batch())
        built.optimize_parameters(iteration)
        assert np.isfinite(list(built.log_dict.values())).all()
    assert all(w.grad.dtype == torch.float32 for w in built.net_m.parameters())


def test_basicsr_metric_of_the_pipeline_is_psnr_of_8_bit():
    a, b = np.full((4, 4, 3), 100, np.uint8), np.full((4, 4, 3), 110, np.uint8)
    value = calculate_metric({'img': a, 'img2': b}, {'type': 'calculate_psnr', 'crop_border': 0})
    assert value == pytest.approx(10 * np.log10(255 ** 2 / 100))

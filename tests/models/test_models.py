"""Both models through BasicSR's own pipelines: training, checkpoints, meta-test, figures before and after."""

import csv
import re

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_metric

from maxl_sr.compare import results
from maxl_sr.errors import UserError
from maxl_sr.losses.two_direction_gradient_loss import two_direction_gradient_loss
from tests.helpers import all_equal, batch, build_model, meta_test_options, train_options, weights_of

MODELS = ['MAXLModel', 'MetaTransferModel']


@pytest.mark.parametrize('model', MODELS)
def test_train_and_test(model, make_pairs, run, tmp_path):
    pairs = make_pairs(count=3)
    assert run('train', train_options(model, pairs)) == 0
    models = tmp_path / 'experiments/tiny/models'
    assert sorted(path.name for path in models.iterdir()) == sorted(
        f'net_{net}_{it}.pth' for net in 'gm' for it in (2, 4, 6, 'latest'))
    opt = meta_test_options(pairs, models)
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
    assert [image.step for image in events.Images('masks/tiny-val/00')] == [3, 6, 7]  # of the first image
    log = next((tmp_path / 'experiments/tiny').glob('*.log')).read_text()
    assert log.count('# psnr_before: ') == log.count('# psnr: ') == 3 and '\tBest: ' in log.split('# psnr_before')[1]
    assert len(list((tmp_path / 'experiments/tiny/visualization/00').iterdir())) == 3 * 5  # 3, 6 and the end


def test_maxl_alternates(make_pairs, tmp_path):
    opt = train_options('MAXLModel', make_pairs())
    opt['train']['alternate_every'] = 2
    model = build_model(opt, tmp_path)
    changed = []
    for iteration in range(1, 9):
        before = weights_of(model.net_g), weights_of(model.net_m)
        model.feed_data(batch())
        model.optimize_parameters(iteration)
        changed.append((not all_equal(before[0], weights_of(model.net_g)),
                        not all_equal(before[1], weights_of(model.net_m))))
    assert changed == 2 * [(True, False), (True, False), (False, True), (False, True)]


def test_maxl_alternates_by_epochs(make_pairs, tmp_path, run):
    opt = train_options('MAXLModel', make_pairs(count=5))  # three batches of two
    opt['train'].update(alternate_every='epoch', total_iter=8)
    assert run('train', opt) == 0
    log = next((tmp_path / 'experiments/tiny').glob('*.log')).read_text()
    losses = re.findall(r'\] (l_pix\w*):', log)
    assert [loss == 'l_pix_virtual' for loss in losses] == [False] * 3 + [True] * 3 + [False] * 2


def test_epochs_need_a_loader_that_counts_them(make_pairs, tmp_path):
    opt = train_options('MAXLModel', make_pairs())
    opt['train']['alternate_every'] = 'epoch'
    with pytest.raises(UserError, match='alternate_every: epoch needs a loader'):
        build_model(opt, tmp_path)


def test_meta_transfer_trains_both_networks(make_pairs, tmp_path):
    model = build_model(train_options('MetaTransferModel', make_pairs()), tmp_path)
    before = weights_of(model.net_g), weights_of(model.net_m)
    model.feed_data(batch())
    model.optimize_parameters(1)
    for part in ('body', 'primary_head', 'aux_head'):
        own = {n: w for n, w in before[0].items() if n.startswith(part)}
        assert not all_equal(own, weights_of(model.net_g))
    assert not all_equal(before[1], weights_of(model.net_m))


@pytest.mark.parametrize('model', MODELS)
def test_a_mask_of_features_is_trained_and_tested(model, make_pairs, run, tmp_path):
    pairs = make_pairs(count=3)
    opt = train_options(model, pairs)
    feature_mask = opt['network_m'] = {'type': 'FeatureMaskNet', 'num_feat': 4, 'num_block': 1, 'num_net_feat': 8}
    built = build_model(opt, tmp_path)
    before = weights_of(built.net_m)
    for iteration in (1, 2, 3, 4):
        built.feed_data(batch())
        built.optimize_parameters(iteration)
    assert not all_equal(before, weights_of(built.net_m))
    assert run('train', opt) == 0
    test = meta_test_options(pairs, tmp_path / 'experiments/tiny/models')
    test['network_m'] = feature_mask
    assert run('test', test) == 0


def test_stage_2_adds_the_loss_of_the_mask(make_pairs, tmp_path):
    opt, found = train_options('MetaTransferModel', make_pairs()), []
    for mask_opt in (None, {'type': 'TwoDirectionGradientLoss', 'loss_weight': 0.5}):
        opt['train'].update(mask_opt=mask_opt, inner={**opt['train']['inner'], 'meta_gradient': 'stored'})
        torch.manual_seed(0)
        model = build_model(opt, tmp_path)
        model.feed_data(batch())
        losses = model._outer_gradients(model.lq, model.gt)
        found.append([weight.grad.clone() for weight in model.net_m.parameters()])
    assert losses['l_mask'] > 0
    l_mask = 0.5 * two_direction_gradient_loss(model.net_m(model.lq), model.lq)
    alone = torch.autograd.grad(l_mask, list(model.net_m.parameters()))
    for without, both, own in zip(*found, alone):
        torch.testing.assert_close(both - without, own, rtol=1e-3, atol=1e-6)


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
    built = build_model(opt, tmp_path)
    before = weights_of(built.net_g)
    for iteration in (1, 2, 3):
        built.feed_data(batch())
        built.optimize_parameters(iteration)
    assert not all_equal(before, weights_of(built.net_g))
    built.feed_data(batch(count=1))
    built.test()
    assert built.output.shape == (1, 3, 16, 16)


@pytest.mark.parametrize('model', MODELS)
@pytest.mark.parametrize('training', [True, False])
def test_meta_test_leaves_weights_and_mode_as_they_were(model, training, make_pairs, tmp_path):
    built = build_model(train_options(model, make_pairs()), tmp_path)
    built.net_g.train(training)
    before = weights_of(built.net_g), weights_of(built.net_m)
    built.feed_data(batch(count=1))
    built.test()
    assert not torch.equal(built.output, built.adapted.before)
    assert all_equal(before[0], weights_of(built.net_g)) and all_equal(before[1], weights_of(built.net_m))
    assert built.net_g.training is training and built.net_m.training


def test_the_order_of_images_changes_nothing(make_pairs, tmp_path):
    built = build_model(train_options('MAXLModel', make_pairs()), tmp_path)
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
    built = build_model(opt, tmp_path)
    built.feed_data(batch(count=1))
    built.test()
    with torch.no_grad():
        assert torch.equal(built.output, built.net_g(built.lq))
    assert list(built.get_current_visuals()) == ['lq', 'result', 'gt']


def test_the_before_figure_is_that_of_the_plain_network(make_pairs, tmp_path):
    built = build_model(train_options('MAXLModel', make_pairs()), tmp_path)
    built.feed_data(batch(count=1))
    built.test()
    with torch.no_grad():
        torch.testing.assert_close(built.adapted.before, built.net_g(built.lq))


@pytest.mark.parametrize('adapts', [True, False])
def test_odd_sides_are_mirrored_to_multiples(adapts, make_pairs, tmp_path):
    opt = train_options('MAXLModel', make_pairs())
    if not adapts:
        del opt['val']['adapt']
    built = build_model(opt, tmp_path)
    lq = torch.rand(1, 3, 37, 42)
    built.feed_data({'lq': lq, 'gt': lq})
    built.test()
    assert built.net_g.multiple == 2
    with torch.no_grad():
        expected = built.net_g(torch.nn.functional.pad(lq, (0, 0, 0, 1), mode='reflect'))[..., :37, :]
        torch.testing.assert_close(built.adapted.before if adapts else built.output, expected)
        assert not torch.allclose(built.net_g(lq), expected, atol=1e-3)
    assert built.output.shape == lq.shape and built.lq.shape == lq.shape


def test_ema_weights_are_tested_and_saved(make_pairs, run, tmp_path):
    opt = train_options('MetaTransferModel', make_pairs())
    opt['train']['ema_decay'] = 0.5
    assert run('train', opt) == 0
    saved = torch.load(tmp_path / 'experiments/tiny/models/net_g_latest.pth')
    assert set(saved) == {'params', 'params_ema'} and not all_equal(saved['params'], saved['params_ema'])


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
    opt = meta_test_options(pairs, tmp_path / 'experiments/tiny/models')
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
    opt = meta_test_options(pairs, tmp_path / 'experiments/tiny/models')
    opt['datasets'] = {'test_1': {'name': 'own', 'type': 'SingleImageDataset', 'dataroot_lq': f'{pairs}/lq',
                                  'io_backend': {'type': 'disk'}}}
    opt['val']['metrics'] = {'niqe': {'type': 'calculate_niqe', 'crop_border': 0, 'better': 'lower'}}
    assert run('test', opt) == 0
    assert (tmp_path / 'results/tiny_test/own.csv').read_text().startswith(
        'image,niqe_noisy,niqe_before,niqe_step1,niqe_step2,seconds\n')
    log = next((tmp_path / 'results/tiny_test').glob('*.log')).read_text()
    assert '# niqe_before: ' in log and '# niqe_before: 0.0000' not in log


def test_the_ground_truth_of_an_earlier_image_is_forgotten(make_pairs, tmp_path):
    built = build_model(train_options('MAXLModel', make_pairs()), tmp_path)
    built.feed_data(batch())
    built.feed_data({'lq': batch(count=1)['lq'], 'lq_path': ['x.png']})
    built.test()
    assert list(built.get_current_visuals()) == ['lq', 'result', 'before', 'mask']


def test_a_full_disk_leaves_no_half_checkpoint(make_pairs, tmp_path, monkeypatch):
    built = build_model(train_options('MAXLModel', make_pairs()), tmp_path)

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
        build_model(opt, tmp_path)


def test_plain_fine_tuning_sums_over_the_samples(make_pairs, tmp_path):
    opt = train_options('MetaTransferModel', make_pairs())
    del opt['network_m'], opt['train']['aux_opt']
    opt['train']['pixel_opt']['reduction'] = 'sum'
    built = build_model(opt, tmp_path)
    data = batch(count=3)
    with torch.no_grad():
        expected = (built.net_g(data['lq']) - data['gt']).abs().sum()
    built.feed_data(data)
    built.optimize_parameters(1)
    assert built.log_dict['l_pix'] == pytest.approx(expected.item(), rel=1e-5)


def test_basicsr_metric_of_the_pipeline_is_psnr_of_8_bit():
    a, b = np.full((4, 4, 3), 100, np.uint8), np.full((4, 4, 3), 110, np.uint8)
    value = calculate_metric({'img': a, 'img2': b}, {'type': 'calculate_psnr', 'crop_border': 0})
    assert value == pytest.approx(10 * np.log10(255 ** 2 / 100))

"""A user's mistake ends with exit code 2 and one sentence that names it, before anything is written."""

import importlib
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.data import build_dataset
from basicsr.utils.lmdb_util import LmdbMaker
from basicsr.utils.registry import LOSS_REGISTRY
from conftest import test_options, train_options

from maxl_sr import pipeline
from maxl_sr.utils import packaged

GONE = object()


def edited(opt, **changes):
    """Set keys of nested sections: ``train__inner__lr=1``; GONE takes the key out."""
    for key, value in changes.items():
        *sections, last = key.split('__')
        section = opt
        for name in sections:
            section[name] = dict(section[name])  # conftest's sections are shared
            section = section[name]
        if value is GONE:
            del section[last]
        else:
            section[last] = value
    return opt


@pytest.fixture
def refused(run, tmp_path, capfd):
    """Function that runs a command and checks that it is refused in one line which has every text of `told`."""

    def check(command, opt, *told, flags=(), written=False):
        capfd.readouterr()
        assert run(command, opt, *flags) == 2
        err = capfd.readouterr().err
        lines = [line for line in err.splitlines() if line.startswith('error: ')]
        assert len(lines) == 1
        assert 'Traceback' not in err
        for text in told:
            assert text in lines[0]
        if not written:
            assert err.splitlines() == lines
            assert not {'experiments', 'results', 'tb_logger'} & set(os.listdir(tmp_path))

    return check


def lmdb_of(folder, path):
    """Write the images of `folder` to an LMDB and return its path."""
    maker = LmdbMaker(str(path), map_size=2**24)
    for file in sorted(Path(folder).iterdir()):
        maker.put(file.read_bytes(), file.stem, cv2.imread(str(file)).shape)
    maker.close()
    return path


# --- the option file ---


@pytest.mark.parametrize('text, told', [
    ('name: [', 'is not valid YAML'),
    ('- name', 'is no option file'),
    ('', 'is no option file'),
    ('name: x\nmodel_type: MAXLModel\nnum_gpu: 0\npath: {}\ndatasets: 5', 'datasets cannot be 5'),
])  # yapf: disable
def test_not_an_option_file(refused, tmp_path, text, told):
    (tmp_path / 'x.yml').write_text(text)
    refused('train', 'x.yml', 'x.yml', told)


def test_option_file_that_is_not_text(refused, tmp_path):
    (tmp_path / 'x.yml').write_bytes(b'\xff\xfe\x00')
    refused('train', 'x.yml', 'x.yml is not valid YAML')


def test_option_file_missing(refused):
    refused('train', 'nowhere.yml', 'there is no file nowhere.yml', 'options/cpu/stage1_maxl.yml')


def test_packaged_option_file_is_found_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert yaml.safe_load(Path(packaged.find_option_file('options/cpu/stage1_maxl.yml')).read_text())['model_type'] == \
        'MAXLModel'


@pytest.mark.parametrize('key', ['name', 'model_type', 'datasets', 'path', 'num_gpu', 'train', 'logger', 'network_g'])
def test_section_missing(refused, make_pairs, key):
    refused('train', edited(train_options('MAXLModel', make_pairs()), **{key: GONE}), f"'{key}'")


def test_test_without_val(refused, make_pairs, tmp_path):
    refused('test', edited(test_options(make_pairs(), tmp_path), val=GONE), "'val'")


def test_train_file_given_to_test(refused, make_pairs):
    refused('test', train_options('MAXLModel', make_pairs()), 'datasets: train')


def test_test_file_given_to_train(refused, make_pairs, tmp_path):
    refused('train', test_options(make_pairs(), tmp_path), "'train'")


def test_test_set_in_a_training(refused, make_pairs):
    opt = train_options('MAXLModel', make_pairs())
    opt['datasets']['test_1'] = dict(opt['datasets']['val'])
    refused('train', opt, 'datasets: test_1')


def test_force_yml_with_an_unknown_section(refused, make_pairs):
    refused('train', train_options('MAXLModel', make_pairs()), "--force_yml", "'trian'",
            flags=['--force_yml', 'trian:total_iter=3'])


def test_force_yml_without_a_value(refused, make_pairs):
    refused('train', train_options('MAXLModel', make_pairs()), "--force_yml", flags=['--force_yml', 'train:total_iter'])


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_gpu_asked_for_without_one(refused, make_pairs):
    refused('train', edited(train_options('MAXLModel', make_pairs()), num_gpu=1), 'num_gpu', 'no GPU')


# --- names ---

MISSPELT = [
    ({'model_type': 'MAXLModle'}, 'model_type', "'MAXLModel'"),
    ({'network_g__type': 'MultiTaskNett'}, 'network_g: type', "'MultiTaskNet'"),
    ({'network_m__type': 'MaskNt'}, 'network_m: type', "'MaskNet'"),
    ({'network_g__num_feats': 8}, "network_g: unknown key 'num_feats'", "'num_feat'"),
    ({'datasets__train__type': 'SyntheticNoiseDataSet'}, 'datasets: train: type', "'SyntheticNoiseDataset'"),
    ({'datasets__val__type': 'MixedPairsDataset'}, 'datasets: val: type', "'MixedPairedDataset'"),
    ({'datasets__train__gt_sice': 16}, "datasets: train: unknown key 'gt_sice'", "'gt_size'"),
    ({'datasets__val__centre_crop': 16}, "datasets: val: unknown key 'centre_crop'", "'center_crop'"),
    ({'datasets__train__noise': {'gausian': [5, 50]}}, "noise: unknown key 'gausian'", "'gaussian'"),
    ({'datasets__train__io_backend': {'type': 'lmbd'}}, 'datasets: train: io_backend: type', "'lmdb'"),
    ({'datasets__train__io_backend': {'typ': 'disk'}}, 'datasets: train: io_backend', "'type' is missing"),
    ({'train__pixel_opt__type': 'L1Los'}, 'train: pixel_opt: type', "'L1Loss'"),
    ({'train__aux_opt__type': 'MaskedReconstruction'}, 'train: aux_opt: type', "'MaskedReconstructionLoss'"),
    ({'train__aux_opt__criterium': 'l1'}, "train: aux_opt: unknown key 'criterium'", "'criterion'"),
    ({'train__aux_opt__criterion': 'l3'}, 'train: aux_opt: criterion', 'l1'),
    ({'train__mask_opt__loss_wieght': 1.}, "train: mask_opt: unknown key 'loss_wieght'", "'loss_weight'"),
    ({'train__inner': {'rate': 1.}}, "train: inner: unknown key 'rate'", 'lr'),
    ({'train__optim_g__type': 'Adamm'}, "train: optim_g: type: BasicSR has no optimizer 'Adamm'", 'Adam'),
    ({'train__optim_g__beta': [0.9, 0.99]}, "train: optim_g: unknown key 'beta'", "'betas'"),
    ({'train__scheduler__type': 'CosineAnealingRestartLR'}, 'scheduler: type', "'CosineAnnealingRestartLR'"),
    ({'train__scheduler__milestone': [3]}, "train: scheduler: unknown key 'milestone'", "'milestones'"),
    ({'val__metrics__psnr__type': 'calculate_pnsr'}, 'val: metrics: psnr: type', "'calculate_psnr'"),
    ({'val__metrics__psnr': {'type': 'calculate_psnr'}}, 'val: metrics: psnr', "'crop_border'"),
    ({'val__adapt__stepps': 2}, "val: adapt: unknown key 'stepps'", "'steps'"),
]  # yapf: disable


@pytest.mark.parametrize('changes, place, nearest', MISSPELT, ids=[next(iter(case[0])) for case in MISSPELT])
def test_misspelt_name(refused, make_pairs, changes, place, nearest):
    refused('train', edited(train_options('MAXLModel', make_pairs()), **changes), place, nearest)


def test_misspelt_key_of_the_inner_loop(refused, make_pairs):
    refused('train', edited(train_options('MetaTransferModel', make_pairs()), train__inner__step=2),
            "train: inner: unknown key 'step'", "'steps'")


@pytest.mark.parametrize('where', ['pixel_opt', 'mask_opt'])
def test_inner_objective_in_place_of_a_loss(where, refused, make_pairs):
    opt = train_options('MAXLModel', make_pairs())
    opt['train'][where] = {'type': 'BlindSpotLoss'}
    refused('train', opt, f'train: {where}: BlindSpotLoss is an inner objective')


@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
def test_network_without_an_auxiliary_head(model, refused, make_pairs):
    opt = train_options(model, make_pairs())
    opt['network_g'] = {'type': 'RIDNet', 'in_channels': 3, 'mid_channels': 4, 'out_channels': 3}
    refused('train', opt, 'network_g: type: RIDNet has no auxiliary head', 'use MultiTaskNet, or model_type: SRModel')


def test_learned_rates_added_before_resuming(refused, run, make_pairs):
    opt = train_options('MetaTransferModel', make_pairs())
    assert run('train', opt) == 0
    opt['train']['inner']['learn_lr'] = 'tensor'
    opt['train']['optim_r'] = dict(opt['train']['optim_g'])
    refused('train', opt, 'is of a training with 2 optimizers, this one has 3', flags=['--auto_resume'], written=True)


def test_a_training_resumes_without_the_checkpoint_that_it_began_with(run, make_pairs, tmp_path):
    opt = train_options('MetaTransferModel', make_pairs())
    opt['name'] = 'first'
    assert run('train', opt) == 0
    start = tmp_path / 'experiments/first/models/net_g_latest.pth'
    opt['name'] = 'second'
    opt['path']['pretrain_network_g'] = str(start)
    opt['train']['inner']['learn_lr'] = 'tensor'
    opt['train']['optim_r'] = dict(opt['train']['optim_g'])
    assert run('train', opt) == 0
    start.unlink()
    opt['train']['total_iter'] = 8
    assert run('train', opt, '--auto_resume') == 0


def test_misspelt_key_of_one_of_several_sets(refused, make_pairs):
    opt = train_options('MetaTransferModel', make_pairs())
    train = opt['datasets']['train']
    first = {key: train.pop(key) for key in ('dataroot_gt', 'dataroot_lq', 'io_backend')}
    train['sets'] = [first, {**first, 'dataroot_gd': 'x'}]
    refused('train', opt, "datasets: train: sets[1]: unknown key 'dataroot_gd'", "'dataroot_gt'")


# --- values ---

MAXL_VALUES = [
    ({'train__inner__lr': 'fast'}, "train: inner: lr must be a number, not 'fast'"),
    ({'train__inner__lr': 0}, 'train: inner: lr must be greater than 0'),
    ({'train__inner__lr': -1.}, 'train: inner: lr must be greater than 0'),
    ({'train__inner__lr': float('nan')}, 'train: inner: lr must be a number, not nan'),
    ({'train__inner': 'slow'}, "train: inner must be a section, not 'slow'"),
    ({'train__alternate_every': 0}, 'train: alternate_every must be an integer of at least 1, not 0'),
    ({'train__alternate_every': GONE}, "'alternate_every' is missing"),
    ({'train__total_iter': 'many'}, "train: total_iter must be an integer of at least 1, not 'many'"),
    ({'train__total_iter': float('inf')}, 'train: total_iter must be an integer of at least 1, not inf'),
    ({'train__warmup_iter': 'none'}, 'train: warmup_iter must be a number of at least -1'),
    ({'train__ema_decay': 'slow'}, 'train: ema_decay must be a number of at least 0'),
    ({'train__ema_decay': 1.5}, 'and at most 1, not 1.5'),
    ({'train__optim_g__lr': '1e-3'}, "train: optim_g: lr must be a number, not the text '1e-3'; write !!float 1e-3"),
    ({'train__optim_m__lr': -1.}, 'train: optim_m: lr must be a positive number'),
    ({'train__optim_g__lr': float('nan')}, 'train: optim_g: lr must be a positive number'),
    ({'train__optim_g__weight_decay': '1e-4'}, 'train: optim_g: weight_decay must be a number'),
    ({'train__optim_g': 5}, 'train: optim_g must be a section'),
    ({'train__optim_m': GONE}, 'train: optim_m is missing'),
    ({'train__aux_opt': GONE}, 'train: aux_opt is missing'),
    ({'train__aux_opt': {'type': 'L1Loss'}}, 'train: aux_opt: L1Loss is no inner objective'),
    ({'train__pixel_opt__loss_weight': 'big'}, "train: pixel_opt: loss_weight must be a number, not 'big'"),
    ({'train__pixel_opt__loss_weight': '1e-2'}, "not the text '1e-2'; write !!float 1e-2"),
    ({'train__pixel_opt__reduction': 'none'}, "train: pixel_opt: reduction cannot be 'none'"),
    ({'train__aux_opt__reduction': 'none'}, "train: aux_opt: reduction cannot be 'none'"),
    ({'train__scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [6], 'eta_min': '1e-5'}},
     'train: scheduler: eta_min must be a number'),
    ({'val__val_freq': 0}, 'val: val_freq must be an integer of at least 1, not 0'),
    ({'val__adapt__steps': 0}, 'val: adapt: steps must be at least 1, not 0'),
    ({'val__adapt__steps': -1}, 'val: adapt: steps must be at least 1, not -1'),
    ({'val__adapt__steps': 2.5}, 'val: adapt: steps must be an integer, not 2.5'),
    ({'val__adapt__lr': 0.}, 'val: adapt: lr must be greater than 0'),
    ({'val__adapt__lr': -.1}, 'val: adapt: lr must be greater than 0'),
    ({'val__adapt__params': 'head'}, "val: adapt: params must be one of heads, all, gains, input, not 'head'"),
    ({'val__adapt__optimizer': 'sdg'}, "val: adapt: optimizer must be one of sgd, adam, not 'sdg'"),
    ({'val__adapt__aux_opt': {'type': 'L1Loss'}}, 'val: adapt: aux_opt: L1Loss is no inner objective'),
    ({'val__metrics': 5}, 'val: metrics must be a section'),
    ({'datasets__train__batch_size_per_gpu': 'two'}, "batch_size_per_gpu must be an integer of at least 1, not 'two'"),
    ({'datasets__train__num_worker_per_gpu': -1}, 'num_worker_per_gpu must be an integer of at least 0'),
    ({'datasets__train__dataset_enlarge_ratio': 'ten'}, 'dataset_enlarge_ratio'),
    ({'datasets__train__gt_size': 'big'}, "gt_size must be an integer of at least 1, not 'big'"),
    ({'datasets__train__gt_size': GONE}, "'gt_size' is missing"),
    ({'datasets__train__gt_size': 33}, '00.png', '(40×32) is smaller than gt_size 33'),
    ({'datasets__train__noise': {'gaussian': 5}}, 'noise: gaussian must be a pair of numbers, not 5'),
    ({'datasets__train__noise': {'gaussian': [50, 5]}}, 'noise: gaussian must go from low to high'),
    ({'datasets__train__noise': {'speckle': [-1, 5]}}, 'noise: speckle must be at least 0'),
    ({'datasets__train__noise': {'salt_pepper': [0, 2]}}, 'noise: salt_pepper must be at most 1'),
    ({'datasets__train__noise': 25}, 'noise must be a section, not 25'),
    ({'datasets__train__io_backend': 'disk'}, "io_backend must be a section, not 'disk'"),
    ({'datasets__train__seed': 1.5}, 'seed must be an integer'),
    ({'datasets__train__name': GONE}, "datasets: train: key 'name' is missing"),
    ({'datasets__train__prefetch_mode': 'gpu'}, "datasets: train: prefetch_mode: unknown name 'gpu'"),
    ({'datasets__train__prefetch_mode': 'cuda'}, 'datasets: train: prefetch_mode: cuda needs pin_memory: true'),
    ({'datasets__train__persistent_workers': True}, 'persistent_workers', 'num_worker_per_gpu'),
    ({'datasets__val__center_crop': 'big'}, "center_crop must be an integer of at least 1, not 'big'"),
    ({'network_g__num_feat': 'wide'}, 'network_g'),
    ({'network_g__num_feat': 0}, 'network_g'),
    ({'manual_seed': 'random'}, 'manual_seed'),
    ({'scale': 'two'}, 'scale'),
    ({'logger__print_freq': 0}, 'logger: print_freq must be an integer of at least 1, not 0'),
    ({'path__resume_state': 'no.state'}, 'path: resume_state: there is no file no.state'),
    ({'path__pretrain_network_g': 'no.pth'}, 'path: pretrain_network_g: there is no file no.pth'),
    ({'path__pretrain_network_m': 'no.pth'}, 'path: pretrain_network_m: there is no file no.pth'),
    ({'path__pretrain_network_g': 5}, 'path: pretrain_network_g'),
]  # yapf: disable


def test_an_objective_of_one_size_is_refused_for_super_resolution(refused, make_pairs):
    opt = edited(train_options('MAXLModel', make_pairs()), scale=2, network_g__scale=2,
                 train__aux_opt={'type': 'BlindSpotLoss'})
    refused('train', opt, 'train: aux_opt: BlindSpotLoss compares images of one size, it cannot be used with scale: 2')


@pytest.mark.parametrize('case', MAXL_VALUES, ids=[f'{key}={value if value is not GONE else "gone"}'
                                                   for (change, *_) in MAXL_VALUES for key, value in change.items()])
def test_wrong_value(refused, make_pairs, case):
    changes, *told = case
    refused('train', edited(train_options('MAXLModel', make_pairs()), **changes), *told)


@pytest.mark.parametrize('changes, told', [
    ({'train__inner__steps': 'five'}, "train: inner: steps must be an integer, not 'five'"),
    ({'train__inner__steps': 0}, 'train: inner: steps must be at least 1, not 0'),
    ({'train__inner__steps': -3}, 'train: inner: steps must be at least 1, not -3'),
    ({'train__inner__params': 'head'}, 'train: inner: params must be one of heads, all'),
    ({'train__inner__lr': -1}, 'train: inner: lr must be greater than 0'),
    ({'train__inner__meta_gradient': 'first'}, 'train: inner: meta_gradient must be one of'),
    ({'train__optim_m': GONE}, 'train: optim_m is missing'),
    ({'datasets__train__sets': []}, "'dataroot_gt'"),
])  # yapf: disable
def test_wrong_value_of_the_second_stage(refused, make_pairs, changes, told):
    refused('train', edited(train_options('MetaTransferModel', make_pairs()), **changes), told)


def test_number_written_without_a_dot_is_accepted(run, make_pairs):
    assert run('train', edited(train_options('MAXLModel', make_pairs()), train__inner__lr='1e-3')) == 0


# --- images ---


@pytest.fixture
def pairs(make_pairs):
    return make_pairs()


@pytest.mark.parametrize('key', ['gt', 'lq'])
def test_data_root_missing(refused, pairs, key):
    opt = edited(train_options('MetaTransferModel', pairs), **{f'datasets__train__dataroot_{key}': 'nowhere'})
    refused('train', opt, f'datasets: train: dataroot_{key}: there is no folder nowhere')


@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
def test_empty_folder(refused, tmp_path, pairs, model):
    opt = train_options(model, pairs)
    (tmp_path / 'empty').mkdir()
    for key in ('dataroot_gt', 'dataroot_lq'):
        if key in opt['datasets']['train']:
            opt['datasets']['train'][key] = 'empty'
    refused('train', opt, 'datasets: train', 'no images in empty')


def test_more_inputs_than_ground_truths(refused, pairs):
    (pairs / 'gt/03.png').unlink()
    refused('train', train_options('MetaTransferModel', pairs), 'datasets: train', '4, 3')


def test_pair_of_different_names(refused, pairs):
    (pairs / 'lq/03.png').rename(pairs / 'lq/04.png')
    refused('train', train_options('MetaTransferModel', pairs), 'datasets: train', '03.png')


def test_pair_of_different_sizes(refused, pairs):
    cv2.imwrite(str(pairs / 'lq/02.png'), np.zeros((32, 44, 3), np.uint8))
    refused('train', train_options('MetaTransferModel', pairs), '02.png', '40×32', '44×32')


def test_text_called_png(refused, pairs):
    (pairs / 'gt/01.png').write_text('no picture')
    refused('train', train_options('MAXLModel', pairs), 'gt/01.png')


def test_empty_file(refused, pairs):
    (pairs / 'gt/01.png').write_bytes(b'')
    refused('train', train_options('MAXLModel', pairs), 'gt/01.png')


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_truncated_image(refused, pairs, suffix):
    (pairs / 'gt/01.png').unlink()
    path = pairs / f'gt/01{suffix}'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-3000])
    opt = train_options('MAXLModel', pairs)
    del opt['datasets']['val'], opt['val']
    refused('train', opt, f'gt/01{suffix}')


@pytest.mark.parametrize('kind, bgr', [('grey', [60, 60, 60]), ('16bit', [10, 20, 30]), ('alpha', [10, 20, 30])])
def test_other_images_become_8_bit_colour(run, pairs, kind, bgr):
    image = np.empty((32, 40, 3), np.uint8)
    image[:] = (10, 20, 30)
    image = {'grey': np.full((32, 40), 60, np.uint8), '16bit': image.astype(np.uint16) * 257,
             'alpha': np.dstack([image, np.full((32, 40), 128, np.uint8)])}[kind]  # yapf: disable
    cv2.imwrite(str(pairs / 'gt/00.png'), image)
    opt = train_options('MAXLModel', pairs)
    assert run('train', opt) == 0
    item = build_dataset({**opt['datasets']['val'], 'phase': 'val', 'scale': 1})[0]
    assert (item['gt'] * 255).round().int()[:, 5, 5].tolist() == bgr[::-1]


# --- LMDB ---


def with_lmdb(opt, path):
    return edited(opt, datasets__train__io_backend={'type': 'lmdb'}, datasets__train__dataroot_gt=str(path))


def test_training_from_an_lmdb(run, pairs, tmp_path):
    assert run('train', with_lmdb(train_options('MAXLModel', pairs), lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb'))) == 0


def test_lmdb_without_its_list(refused, pairs, tmp_path):
    path = lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb')
    (path / 'meta_info.txt').unlink()
    refused('train', with_lmdb(train_options('MAXLModel', pairs), path), 'gt.lmdb', 'no meta_info.txt')


def test_lmdb_folder_of_another_name(refused, pairs, tmp_path):
    path = lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb').rename(tmp_path / 'gt_db')
    refused('train', with_lmdb(train_options('MAXLModel', pairs), path), 'gt_db', '.lmdb')


@pytest.mark.parametrize('line', ['garbage', '00.png (32,forty,3) 1', '\n'])
def test_lmdb_with_a_garbled_list(refused, pairs, tmp_path, line):
    path = lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb')
    (path / 'meta_info.txt').write_text(line)
    refused('train', with_lmdb(train_options('MAXLModel', pairs), path), 'gt.lmdb/meta_info.txt')


def test_lmdb_whose_list_names_what_it_does_not_hold(refused, pairs, tmp_path):
    path = lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb')
    with open(path / 'meta_info.txt', 'a') as file:
        file.write('99.png (32,40,3) 1\n')
    refused('train', with_lmdb(train_options('MAXLModel', pairs), path), 'gt.lmdb', '99')


def test_lmdb_without_its_data(refused, pairs, tmp_path):
    path = lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb')
    (path / 'data.mdb').unlink()
    refused('train', with_lmdb(train_options('MAXLModel', pairs), path), 'gt.lmdb')


# --- checkpoints ---


@pytest.fixture
def trained(run, pairs, tmp_path):
    """Options of a test of freshly trained networks; what the training wrote is out of the way."""
    assert run('train', edited(train_options('MAXLModel', pairs), train__total_iter=2)) == 0
    models = (tmp_path / 'experiments').rename(tmp_path / 'trained') / 'tiny/models'
    return test_options(pairs, models)


def test_checkpoint_of_another_width(refused, trained):
    refused('test', edited(trained, network_g__num_feat=4), 'net_g_latest.pth', 'another MultiTaskNet', '(8, 3, 3, 3)')


def test_checkpoint_of_another_type(refused, trained):
    wrong = trained['path']['pretrain_network_m']
    refused('test', edited(trained, path__pretrain_network_g=wrong), 'net_m_latest.pth', 'another network')


@pytest.mark.parametrize('kept', [0, 10, 3000])
def test_truncated_checkpoint(refused, trained, kept):
    path = Path(trained['path']['pretrain_network_g'])
    path.write_bytes(path.read_bytes()[:kept])
    refused('test', trained, 'path: pretrain_network_g', 'net_g_latest.pth', 'not a whole one')


def test_text_called_pth(refused, trained):
    Path(trained['path']['pretrain_network_g']).write_text('no checkpoint')
    refused('test', trained, 'path: pretrain_network_g', 'net_g_latest.pth')


@pytest.mark.parametrize('content', [[1, 2], {'params': 5}, {'params': {'a': 1}}, {'weights': {}}, torch.zeros(2)])
def test_file_of_torch_that_is_no_checkpoint(refused, trained, content):
    torch.save(content, trained['path']['pretrain_network_g'])
    refused('test', trained, 'path: pretrain_network_g', 'net_g_latest.pth')


def test_damaged_resume_state(refused, trained, pairs, tmp_path):
    (tmp_path / 'x.state').write_bytes(b'no state')
    refused('train', edited(train_options('MAXLModel', pairs), path__resume_state='x.state'), 'resume_state', 'x.state')


def test_resume_state_without_its_networks(refused, trained, pairs):
    state = 'trained/tiny/training_states/2.state'
    refused('train', edited(train_options('MAXLModel', pairs), path__resume_state=state), 'resume_state',
            'net_g_2.pth')


# --- while it runs ---


def finite(path):
    return all(torch.isfinite(value).all() for value in torch.load(path)['params'].values())


@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
def test_training_whose_loss_is_not_finite_stops_at_its_last_good_checkpoint(refused, pairs, tmp_path, model):
    opt = edited(train_options(model, pairs), train__optim_g__lr=1e30, logger__save_checkpoint_freq=1)
    refused('train', opt, 'iteration 2: the loss is', 'training_states/1.state', written=True)
    models = tmp_path / 'experiments/tiny/models'
    assert sorted(os.listdir(models)) == ['net_g_1.pth', 'net_m_1.pth']
    assert finite(models / 'net_g_1.pth') and finite(models / 'net_m_1.pth')


if 'KinkLoss' not in LOSS_REGISTRY:

    @LOSS_REGISTRY.register()
    class KinkLoss(torch.nn.Module):
        """A finite loss whose gradient is NaN: the root of an absolute difference of zero."""

        def forward(self, pred, target):
            return (pred - target).abs().mean() + (pred - pred.detach()).abs().sqrt().mean()


@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
def test_gradient_that_is_not_finite_does_not_reach_a_checkpoint(refused, pairs, tmp_path, model):
    opt = edited(train_options(model, pairs), train__pixel_opt={'type': 'KinkLoss'}, logger__save_checkpoint_freq=1)
    refused('train', opt, 'iteration 1: the ', 'no checkpoint had been saved yet', written=True)
    assert not os.listdir(tmp_path / 'experiments/tiny/models')


@pytest.mark.parametrize('workers, rank', [(0, 0), (1, 0), (0, 1)])
def test_image_lost_during_training(refused, pairs, monkeypatch, workers, rank):
    monkeypatch.setenv('RANK', str(rank))
    opt = edited(train_options('MAXLModel', pairs), datasets__train__num_worker_per_gpu=workers)
    monkeypatch.setattr(pipeline, 'preflight', lambda opt: (pairs / 'gt/03.png').write_text('no picture'))
    refused('train', opt, 'cannot read the image', 'gt/03.png', written=True)


def test_mistake_that_all_processes_find_is_told_by_the_first(run, capfd, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    with pytest.raises(SystemExit) as stop:
        run('train', 'nowhere.yml')
    assert stop.value.code == 2 and not capfd.readouterr().err


def test_adapt_is_refused_where_the_model_does_not_adapt(refused, pairs):
    opt = train_options('MetaTransferModel', pairs)
    opt['model_type'] = 'SRModel'
    refused('train', opt, 'val: adapt: a SRModel does not adapt')


def test_the_option_file_can_follow_an_equals_sign(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['train', '-opt=nowhere.yml'])
    assert importlib.import_module('maxl_sr.train').main() == 2
    assert 'there is no file nowhere.yml' in capfd.readouterr().err

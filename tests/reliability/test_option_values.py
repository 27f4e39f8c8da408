"""Values of option files that BasicSR would pass over or fail on are refused."""

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers import GONE, edited, meta_test_options, train_options

WRONG = [
    ({'val__metrics__psnr__test_y_chanel': True}, "val: metrics: psnr: unknown key 'test_y_chanel'",
     "'test_y_channel'"),
    ({'val__metrics__psnr__test_y_channel': 'yes'}, 'val: metrics: psnr: test_y_channel must be true or false'),
    ({'val__metrics__psnr__test_y_channel': 1}, 'val: metrics: psnr: test_y_channel must be true or false'),
    ({'val__metrics__psnr__better': 'highest'}, 'val: metrics: psnr: better'),
    ({'val__metrics__psnr__input_order': 'CHW'}, 'input_order must be HWC'),
    ({'val__metrics__psnr__crop_border': '0'}, 'val: metrics: psnr: crop_border must be a number, not the text'),
    ({'val__metrics__psnr__crop_border': -1}, 'crop_border must be an integer of at least 0'),
    ({'val__metrics__psnr__crop_border': 2.5}, 'crop_border must be an integer'),
    ({'val__metrics__psnr__crop_border': 2.0}, 'crop_border must be an integer'),
    ({'val__metrics__psnr__crop_border': None}, 'crop_border must be an integer'),
    ({'val__metrics__psnr__crop_border': 12}, 'with crop_border 12 makes no number of', '24×24', 'datasets: val'),
    ({'val__metrics__psnr__crop_border': 10**9}, 'crop_border 1000000000 makes no number'),
    ({'val__metrics__psnr': None}, 'val: metrics: psnr must be a section'),
    ({'val__metrics__psnr_before': {'type': 'calculate_psnr', 'crop_border': 0}}, "'psnr_before' is the name of"),
    ({'val__metrics__ssim': {'type': 'calculate_ssim', 'crop_border': 8}}, 'ssim', 'makes no number'),
    ({'val__save_img': 'no'}, 'val: save_img must be true or false'),
    ({'val__save_img': 0}, 'val: save_img must be true or false'),
    ({'val__pbar': 'on'}, 'val: pbar must be true or false'),
    ({'logger__use_tb_loger': True}, "logger: unknown key 'use_tb_loger'", "'use_tb_logger'"),
    ({'logger__use_tb_logger': 'no'}, 'logger: use_tb_logger must be true or false'),
    ({'logger__use_tb_logger': 'false'}, "logger: use_tb_logger is the text 'false'; write false without quotes"),
    ({'logger__wandb': 'text'}, "logger: wandb must be a section, not 'text'"),
    ({'logger__wandb': True}, 'logger: wandb must be a section'),
    ({'logger__wandb': {'projekt': 'x'}}, "logger: wandb: unknown key 'projekt'"),
    ({'logger__wandb': {'project': 5}}, 'logger: wandb: project must be text or null'),
    ({'logger__wandb': {'project': 'x'}}, 'logger: wandb: project needs use_tb_logger: true'),
    ({'logger__print_freq': '10'}, 'logger: print_freq'),
    ({'logger__save_checkpoint_freq': True}, 'logger: save_checkpoint_freq'),
    # Found by fuzzing: a character that breaks the line
    ({'train__pixel_opt__reduction': '\u2028'}, 'train: pixel_opt: Unsupported reduction mode: \\u2028'),
    ({'mnaual_seed': 1}, "the option file: unknown key 'mnaual_seed'", "'manual_seed'"),
    ({'network_q': {'type': 'MaskNet'}}, "the option file: unknown key 'network_q'"),
    ({'manual_seed': -1}, 'manual_seed must be an integer from 0'), ({'manual_seed': 2**40}, 'manual_seed'),
    ({'manual_seed': True}, 'manual_seed'), ({'manual_seed': 1.0}, 'manual_seed'),
    ({'network_g': None}, 'network_g must be a section, not null'), ({'network_g': 'x'}, 'network_g must be a section'),
    ({'network_g': {}}, 'network_g must be a section'), ({'network_g__num_feat': '8'}, 'network_g: num_feat'),
    ({'network_m': 'x'}, 'network_m must be a section'), ({'scale': 0}, 'scale must be an integer of at least 1'),
    ({'scale': 1.5}, 'scale must be'), ({'scale': None}, 'scale must be'), ({'scale': [1]}, 'scale must be'),
    ({'num_gpu': -1}, 'num_gpu'), ({'num_gpu': '0'}, 'num_gpu'), ({'num_gpu': True}, 'num_gpu'),
    ({'dist_params': 'x'}, 'dist_params must be a section'), ({'dist_params__port': 'x'}, 'dist_params: port'),
    ({'dist_params__bakend': 'x'}, "dist_params: unknown key 'bakend'"),
    ({'find_unused_parameters': 'yes'}, 'find_unused_parameters must be true or false'),
    ({'datasets__train__use_hflip': 'false'}, "datasets: train: use_hflip is the text 'false'"),
    ({'datasets__train__use_hflip': 'no'}, 'datasets: train: use_hflip must be true or false'),
    ({'datasets__train__use_rot': 0}, 'datasets: train: use_rot must be true or false'),
    ({'datasets__train__use_rot': None}, 'datasets: train: use_rot must be true or false'),
    ({'datasets__train__pin_memory': 'False'}, 'datasets: train: pin_memory'),
    ({'datasets__train__num_prefetch_queue': 'x', 'datasets__train__prefetch_mode': 'cpu'}, 'num_prefetch_queue must'),
    ({'datasets__train__num_prefetch_queue': 0, 'datasets__train__prefetch_mode': 'cpu'}, 'num_prefetch_queue must'),
    ({'datasets__train__num_prefetch_queue': None, 'datasets__train__prefetch_mode': 'cpu'}, 'num_prefetch_queue must'),
    ({'datasets__train__num_worker_per_gpu': 10**6}, 'num_worker_per_gpu must be at most'),
    ({'datasets__train__batch_size_per_gpu': 10**9}, 'batch_size_per_gpu must be at most'),
    ({'datasets__train__dataset_enlarge_ratio': 10**12}, 'dataset_enlarge_ratio', 'in an epoch'),
    ({'datasets__train_2': {'name': 'x'}}, 'datasets: train_2: a training has one data set called train'),
    ({'train__total_iter': 10**15}, 'train: total_iter must be at most'), ({'train__total_iter': '6'}, 'total_iter'),
    ({'train__scheduler__milestones': ['3e0']}, "train: scheduler: milestones must be numbers, not the text '3e0'"),
    ({'train__scheduler__milestones': [2.5]}, 'train: scheduler: milestones must be an integer'),
    ({'train__scheduler__milestones': 5}, 'train: scheduler: milestones must be a list'),
    ({'train__scheduler__milestones': [True]}, 'train: scheduler: milestones must be an integer'),
    ({'train__scheduler__milestones': [[1]]}, 'train: scheduler: milestones must be an integer'),
    ({'train__scheduler__gamma': 'half'}, 'train: scheduler: gamma must be a number'),
    ({'train__scheduler__gamma': -1}, 'train: scheduler: gamma must be a number of at least 0'),
    ({'train__scheduler__gamma': float('nan')}, 'train: scheduler: gamma must be a number'),
    ({'train__scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [3]}}, 'periods [3] end at iteration 3'),
    ({'train__scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [0, 6], 'restart_weights': [1, 1]}},
     'periods'),
    ({'train__scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': ['6']}}, 'periods must be numbers'),
    ({'train__scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [3, 3]}}, 'train: scheduler'),
    ({'train__optim_g__betas': ['0.9', 0.99]}, "train: optim_g: betas must be numbers, not the text '0.9'"),
    ({'train__optim_g__betas': 0.9}, 'train: optim_g'), ({'train__optim_g__betas': [0.9]}, 'train: optim_g'),
    ({'train__optim_g__lr': float('inf')}, 'train: optim_g: lr'), ({'train__optim_g__lr': True}, 'train: optim_g: lr'),
    ({'path__strict_load_g': 'yes'}, 'path: strict_load_g must be true or false'),
    ({'path__param_key_g': 5}, 'path: param_key_g must be text or null'),
    ({'path__ignore_resume_networks': 'network_g'}, 'path: ignore_resume_networks must be a list'),
    ({'path__pretrain_netwrok_g': 'x'}, "path: unknown key 'pretrain_netwrok_g'", 'pretrain_network_g'),
    ({'val__adapt__steps': 10**12}, 'val: adapt: steps must be at most'),
    ({'val__adapt__lr': '1e-3x'}, 'val: adapt: lr'), ({'val__adapt__lr': float('inf')}, 'val: adapt: lr'),
    ({'val__metrics': []}, 'val: metrics must be a section'), ({'val__metrics': ''}, 'val: metrics must be a section'),
    ({'val__adapt': False}, 'val: adapt must be a section'), ({'train__inner': 0}, 'train: inner must be a section'),
    ({'train__aux_opt': []}, 'train: aux_opt must be'), ({'train__optim_m': False}, 'train: optim_m must be a section'),
    ({'datasets__train__noise': []}, 'datasets: train: noise must be a section'),
    ({'network_g__num_feat': 10**9}, 'network_g: num_feat must be at most'),
    ({'network_g__num_block': 10**9}, 'network_g: num_block must be at most'),
    ({'network_g__num_feat': 2**14, 'network_g__num_block': 8}, 'MultiTaskNet: its weights take', 'GiB are free'),
    ({'datasets__train__dataroot_gt': 'a\x00b'}, 'NUL'), ({'datasets__val__center_crop': True}, 'center_crop'),
]  # yapf: disable


@pytest.mark.parametrize('case', WRONG, ids=lambda case: ', '.join(f'{k}={v!r}' for k, v in case[0].items())[:60])
def test_what_basicsr_passes_over(refused, options, case):
    changes, *told = case
    refused('train', edited(options, **changes), *told)


def test_wandb_that_is_not_installed(refused, options, monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', None)
    refused('train', edited(options, logger__wandb={'project': 'x'}, logger__use_tb_logger=True), 'no package wandb')


def test_tensorboard_that_is_not_installed(refused, options, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    refused('train', edited(options, logger__use_tb_logger=True), 'logger: use_tb_logger: TensorBoard cannot be used')


def test_key_that_a_data_set_of_basicsr_passes_over(refused, options):
    edited(options, datasets__val__type='PairedImageDataset')
    refused('train', options, "datasets: val: unknown key 'center_crop'")
    edited(options, datasets__val__center_crop=GONE, datasets__val__filename_templ='{}')
    refused('train', options, "datasets: val: unknown key 'filename_templ'", "'filename_tmpl'")


def test_a_model_of_basicsr_that_cannot_be_made(refused, pairs):
    opt = edited(train_options('MetaTransferModel', pairs), model_type='SRModel', val__adapt=GONE, network_m=GONE,
                 train__aux_opt=GONE, train__inner=GONE, train__optim_m=GONE, train__pixel_opt=GONE)
    refused('train', opt, 'model_type: cannot make a SRModel: Both pixel and perceptual losses are None', written=True)


def test_huge_number_of_inner_steps(refused, pairs):
    refused('train', edited(train_options('MetaTransferModel', pairs), train__inner__steps=10**9),
            'train: inner: steps must be at most')


def test_a_validation_set_without_val(run, options):
    options['val'] = None
    assert run('train', options) == 0


def test_a_test_without_data_sets(refused, pairs, tmp_path):
    refused('test', edited(meta_test_options(pairs, tmp_path), path__pretrain_network_g=None,
                           path__pretrain_network_m=None, datasets={}), 'datasets: there is no data set')


def test_keys_of_other_models_are_known_by_what_they_read(run, pairs):
    opt = edited(train_options('MetaTransferModel', pairs), model_type='SRModel', val__adapt=GONE, network_m=GONE,
                 train__aux_opt=GONE, train__inner=GONE, train__optim_m=GONE, find_unused_parameters=True)
    assert run('train', opt) == 0


def test_odd_file_is_named(refused, pairs):
    cv2.imwrite(str(pairs / 'lq/odd one.png'), np.zeros((32, 40, 3), np.uint8))
    opt = train_options('MetaTransferModel', pairs)
    refused('train', opt, 'different numbers of images: 5, 4', 'odd one.png', str(pairs / 'lq'))
    (pairs / 'lq/odd one.png').unlink()
    (pairs / 'gt/01.png').rename(pairs / 'gt/01.jpg')
    refused('train', opt, 'has no 01.jpg', str(pairs / 'lq'), "filename_tmpl '{}'", str(pairs / 'gt'))


@pytest.mark.parametrize('template', ['{}x2', 'x', '{', '{0}{1}', 5, '{}/../x', '{name}'])
def test_template_that_fits_no_file(refused, pairs, template):
    opt = train_options('MetaTransferModel', pairs)
    refused('train', edited(opt, datasets__train__filename_tmpl=template), 'datasets: train', 'filename_tmpl')


@pytest.mark.parametrize('name', ['nowhere.txt', 'folder', 'pipe', 5])
def test_list_of_images_that_is_no_file(refused, pairs, tmp_path, name):
    (tmp_path / 'folder').mkdir()
    os.mkfifo(tmp_path / 'pipe')
    opt = edited(train_options('MetaTransferModel', pairs), datasets__train__meta_info_file=name)
    refused('train', opt, 'datasets: train: meta_info_file: there is no file')


@pytest.mark.parametrize('kind', ['pipe', 'folder', 'nothing'])
def test_list_that_names_no_images(refused, pairs, tmp_path, kind):
    if kind != 'nothing':
        (pairs / 'gt/x.png').parent.mkdir(exist_ok=True)
        os.mkfifo(pairs / 'gt/x.png') if kind == 'pipe' else (pairs / 'gt/x.png').mkdir()
    (tmp_path / 'list.txt').write_text('x.png (32,40,3)\n')
    opt = edited(train_options('MetaTransferModel', pairs), datasets__train__meta_info_file='list.txt')
    refused('train', opt, 'cannot read the image', 'x.png')


def test_large_images_are_not_refused(pairs, monkeypatch, run):
    import PIL.Image
    monkeypatch.setattr(PIL.Image, 'MAX_IMAGE_PIXELS', 100)  # in place of a file of 200 megapixels
    assert run('train', train_options('MAXLModel', pairs)) == 0
    assert PIL.Image.MAX_IMAGE_PIXELS == 100
    assert Path('experiments/tiny').is_dir()


@pytest.mark.parametrize('value', [2**63, -2**63 - 1, 10**30, 10**400])
@pytest.mark.parametrize('key', ['train__aux_opt__loss_weight', 'train__alternate_every', 'manual_seed',
                                 'datasets__train__gt_size', 'logger__save_checkpoint_freq'])
def test_integers_beyond_64_bits(refused, options, key, value):
    refused('train', edited(options, **{key: value}), key.split('__')[-1], 'digits is too large')


@pytest.mark.parametrize('betas', [None, 5, 'x', [], [0.9], [0.9, 0.99, 0.9], ['x', 'y'], [0.9, 1], [-1, 0.9], {}])
def test_betas_that_are_none(refused, options, betas):
    refused('train', edited(options, train__optim_g__betas=betas), 'train: optim_g: betas must be two numbers')


def test_null_for_the_crop(refused, options):
    refused('train', edited(options, datasets__train__gt_size=None), 'datasets: train: gt_size must be an integer')


def test_a_number_in_quotes_is_told_how_to_write_it(refused, options):
    refused('train', edited(options, network_g__num_block='3'), "num_block", "not the text '3'; write 3 without quotes")


@pytest.mark.parametrize('change, told', [
    ({'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': '/dev/zero'}},
     'gan_opt: loss_weight must be'),
    ({'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'fake_label_val': ''}}, 'gan_opt: fake_label_val must be'),
    ({'gan_opt': {'type': 'GANLoss'}}, "gan_opt: key 'gan_type' is missing"),
    ({'gan_opt': 5}, 'gan_opt must be a section'),
    ({'perceptual_opt': {'type': 'PerceptualLoss', 'layer_weights': {'conv5_4': 1}, 'use_input_norm': 1}},
     'perceptual_opt: use_input_norm must be true or false'),
    ({'ldl_opt': {'type': 'L2Loss'}}, "ldl_opt: type: unknown name 'L2Loss'"),
    ({'net_d_iters': '../..'}, 'net_d_iters must be an integer of at least 1'), ({'net_d_iters': 0}, 'net_d_iters'),
    ({'net_d_init_iters': -1}, 'net_d_init_iters must be an integer of at least 0'),
    ({'scheduler': {'type': 'MultiStepRestartLR', 'milestones': [5], 'restarts': [0], 'restart_weights': 1}},
     'scheduler: restart_weights must be a list of numbers'),
])  # yapf: disable
def test_options_of_the_models_of_basicsr(refused, options, change, told):
    refused('train', edited(options, **{f'train__{key}': value for key, value in change.items()}), f'train: {told}')

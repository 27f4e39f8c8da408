"""A wrong value of an option file is refused in one sentence that names its place."""

import pytest

from tests.helpers import GONE, edited, train_options

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
    ({'network_m__type': 'FeatureMaskNet'}, 'network_m: num_net_feat is 32, but the network that is adapted has 8'),
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

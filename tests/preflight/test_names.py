"""A misspelt name or key is refused, and the nearest one is told."""

import pytest

from tests.helpers import edited, train_options

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

"""Fixtures: the real photographs where they are at hand, tiny photographs and option files made on the fly."""

import importlib
import logging
import os
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import maxl_sr  # noqa: F401  isort: skip
import basicsr.utils.logger as basicsr_logger
import cv2

torch.set_num_threads(1)


@pytest.fixture(scope='session')
def real_data() -> Path:
    """The folder of real photographs; skips where it is absent."""
    folder = Path(os.environ.get('MAXL_SR_DATA', Path(__file__).resolve().parents[2] / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no real photographs in {folder} (set MAXL_SR_DATA)')
    return folder


def photograph(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth colour picture, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def make_pairs(tmp_path: Path) -> Callable[..., Path]:
    """Function that writes `count` noisy / clean PNG pairs to ``<tmp>/<name>/{lq,gt}`` and returns that folder."""

    def make(name: str = 'pairs', count: int = 4, height: int = 32, width: int = 40) -> Path:
        root = tmp_path / name
        for kind in ('gt', 'lq'):
            (root / kind).mkdir(parents=True)
        for number in range(count):
            clean = photograph(number, height, width)
            noise = np.random.default_rng(100 + number).normal(0, 12, clean.shape)
            noisy = np.clip(clean + noise, 0, 255).round().astype(np.uint8)
            cv2.imwrite(str(root / 'gt' / f'{number:02d}.png'), clean)
            cv2.imwrite(str(root / 'lq' / f'{number:02d}.png'), noisy)
        return root

    return make


NETS = {
    'network_g': {'type': 'MultiTaskNet', 'num_feat': 8, 'feat_step': 4, 'num_block': 1, 'num_level': 2},
    'network_m': {'type': 'MaskNet', 'num_feat': 4, 'num_block': 1},
}
ADAM = {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99]}
VAL = {
    'val_freq': 1000, 'save_img': False, 'suffix': None,
    'adapt': {'steps': 2, 'lr': 0.1, 'params': 'heads'},
    'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}},
}


def train_options(model: str, pairs: Path) -> dict[str, Any]:
    """Options of a tiny training of 'MAXLModel' or 'MetaTransferModel' on the folder of :func:`make_pairs`."""
    opt: dict[str, Any] = {
        'name': 'tiny', 'model_type': model, 'scale': 1, 'num_gpu': 0, 'manual_seed': 3,
        'datasets': {
            'train': {'name': 'tiny', 'gt_size': 16, 'use_hflip': True, 'use_rot': True, 'num_worker_per_gpu': 0,
                      'batch_size_per_gpu': 2, 'dataset_enlarge_ratio': 1},
            'val': {'name': 'tiny-val', 'type': 'MixedPairedDataset', 'dataroot_gt': f'{pairs}/gt',
                    'dataroot_lq': f'{pairs}/lq', 'io_backend': {'type': 'disk'}, 'center_crop': 24},
        },
        **NETS,
        'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
        'train': {
            'optim_g': ADAM, 'optim_m': ADAM,
            'scheduler': {'type': 'MultiStepLR', 'milestones': [5], 'gamma': 0.5},
            'total_iter': 6, 'warmup_iter': -1,
            'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
            'aux_opt': {'type': 'MaskedReconstructionLoss', 'loss_weight': 1.0, 'reduction': 'mean'},
        },
        'val': VAL,
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False,
                   'wandb': {'project': None, 'resume_id': None}},
        'dist_params': {'backend': 'gloo', 'port': 29500},
    }  # yapf: disable
    if model == 'MAXLModel':
        opt['datasets']['train'].update(type='SyntheticNoiseDataset', dataroot_gt=f'{pairs}/gt',
                                        io_backend={'type': 'disk'})
        opt['train'].update(alternate_every=1, inner={'lr': 1e-2},
                            mask_opt={'type': 'TwoDirectionGradientLoss', 'loss_weight': 0.01})
    else:
        opt['datasets']['train'].update(type='MixedPairedDataset', dataroot_gt=f'{pairs}/gt',
                                        dataroot_lq=f'{pairs}/lq', io_backend={'type': 'disk'})
        opt['train'].update(inner={'steps': 2, 'lr': 0.01, 'loss_weight': 10.0})
    return deepcopy(opt)


def test_options(pairs: Path, models: Path) -> dict[str, Any]:
    """Options of a meta-test of the checkpoints in the folder `models` on the folder of :func:`make_pairs`."""
    return deepcopy({
        'name': 'tiny_test', 'model_type': 'MetaTransferModel', 'scale': 1, 'num_gpu': 0, 'manual_seed': 3,
        'datasets': {'test_1': {'name': 'tiny', 'type': 'MixedPairedDataset', 'dataroot_gt': f'{pairs}/gt',
                                'dataroot_lq': f'{pairs}/lq', 'io_backend': {'type': 'disk'}}},
        **NETS,
        'path': {'pretrain_network_g': f'{models}/net_g_latest.pth', 'pretrain_network_m': f'{models}/net_m_latest.pth',
                 'strict_load_g': True},
        'val': {**VAL, 'metrics': {**VAL['metrics'], 'ssim': {'type': 'calculate_ssim', 'crop_border': 0}}},
    })  # yapf: disable


test_options.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Function that runs ``python -m maxl_sr.{train,test}`` in this process: ``run('train', opt, *flags)``.

    It runs in `tmp_path`. `opt` is a dictionary, written to an option file, or the path of one. Returns the exit code.
    """
    monkeypatch.chdir(tmp_path)

    def call(command: str, opt: dict[str, Any] | str | Path, *flags: str) -> int:
        if isinstance(opt, dict):
            path = tmp_path / 'options.yml'
            path.write_text(yaml.safe_dump(opt, sort_keys=False))
            opt = path
        monkeypatch.setattr(sys, 'argv', [command, '-opt', str(opt), *flags])
        # BasicSR's logger is one a process: start every run with a fresh one
        basicsr_logger.initialized_logger.clear()
        logging.getLogger('basicsr').handlers.clear()
        return importlib.import_module(f'maxl_sr.{command}').main()

    return call

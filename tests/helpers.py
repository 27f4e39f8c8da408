"""What many tests use: a tiny network, option dictionaries, images, Python as a process."""

import os
import shutil
import socket
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import maxl_sr  # noqa: F401  isort: skip  (BasicSR does not import without it)
import basicsr.models
import cv2
import numpy as np
import pytest
import torch
from basicsr.utils.lmdb_util import LmdbMaker
from torch import Tensor, nn

from maxl_sr.archs.mask_arch import MaskNet
from maxl_sr.archs.multitask_arch import MultiTaskNet

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get('MAXL_SR_DATA') or ROOT.parent / 'shared/data')  # real photographs
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
TINY = {'num_feat': 4, 'feat_step': 2, 'num_block': 1, 'num_level': 2}


def tiny_net(arch: type[nn.Module] = MultiTaskNet, seed: int | None = None, **arguments: Any) -> Any:
    """A multi-task network of a few thousand weights; with a seed, the same each time."""
    if seed is not None:
        torch.manual_seed(seed)
    return arch(**{**TINY, **arguments})


def tiny_mask_net() -> MaskNet:
    """A mask network to go with it."""
    return MaskNet(num_feat=4, num_block=1)


def slow(*cases: Any) -> list[Any]:
    """Cases of ``parametrize`` that are left out with ``-m 'not slow'``; a tuple has a value for each argument."""
    return [pytest.param(*(case if isinstance(case, tuple) else (case, )), marks=pytest.mark.slow) for case in cases]


def free_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return int(listener.getsockname()[1])


def python(*arguments: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    """Python run to its end, with what it wrote; `options` are those of ``subprocess.run``."""
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, **options)


def photograph(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth colour picture, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


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


def meta_test_options(pairs: Path, models: Path) -> dict[str, Any]:
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


GONE = object()


def edited(opt: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Set keys of nested sections: ``train__inner__lr=1``; GONE takes the key out."""
    for key, value in changes.items():
        *sections, last = key.split('__')
        section = opt
        for name in sections:
            section[name] = dict(section[name])  # these sections are shared
            section = section[name]
        if value is GONE:
            del section[last]
        else:
            section[last] = value
    return opt


def build_model(opt: dict[str, Any], folder: Path, is_train: bool = True) -> Any:
    """The model of an option dictionary, without BasicSR's pipeline around it."""
    opt = deepcopy(opt)  # BasicSR pops from it
    opt.update(is_train=is_train, dist=False, rank=0, world_size=1)
    opt['path'].update(models=str(folder), training_states=str(folder), visualization=str(folder / 'pictures'),
                       results_root=str(folder))
    return basicsr.models.build_model(opt)


def batch(count: int = 2, size: int = 16, seed: int = 0) -> dict[str, Any]:
    """What a data loader gives a model."""
    gt = torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))
    lq = (gt + 0.1 * torch.randn(gt.shape, generator=torch.Generator().manual_seed(seed + 1))).clamp(0, 1)
    return {'lq': lq, 'gt': gt, 'lq_path': [f'{seed}.png'] * count, 'gt_path': [f'{seed}.png'] * count}


def weights_of(net: nn.Module) -> dict[str, Tensor]:
    """The weights of a network as they are now."""
    return {name: w.clone() for name, w in net.state_dict().items()}


def all_equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    """Whether two sets of weights are the same bit for bit."""
    return all(torch.equal(a[name], b[name]) for name in a)


def lmdb_of(folder: Path | str, path: Path) -> Path:
    """Write the images of `folder` to an LMDB and return its path."""
    maker = LmdbMaker(str(path), map_size=2**24)
    for file in sorted(Path(folder).iterdir()):
        maker.put(file.read_bytes(), file.stem, cv2.imread(str(file)).shape)
    maker.close()
    return path


def with_lmdb(opt: dict[str, Any], path: Path) -> dict[str, Any]:
    """The options, with an LMDB in place of the folder of clean images."""
    return edited(opt, datasets__train__io_backend={'type': 'lmdb'}, datasets__train__dataroot_gt=str(path))

"""Clean images with noise made on the fly."""

import random
import zlib
from os import path as osp
from typing import Any

import numpy as np
from basicsr.data.data_util import paths_from_lmdb
from basicsr.data.transforms import augment, paired_random_crop
from basicsr.utils import FileClient, img2tensor, scandir
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from maxl_sr.data.data_util import (
    AUGMENT_KEYS,
    EXTENSIONS,
    LOADER_KEYS,
    center_crop_window,
    check_backend,
    check_int,
    read_image,
)
from maxl_sr.data.noise import Noise, add_noise
from maxl_sr.errors import UserError
from maxl_sr.utils.options import check_keys, parse


@DATASET_REGISTRY.register()
class SyntheticNoiseDataset(Dataset):
    """Pairs (noisy, clean) from clean images on disk or in an LMDB.

    In training every visit of an image draws crop, flips and noise anew. In validation and test the noise of an image
    is fixed by ``seed`` and its file name without suffix. Items are ``lq`` and ``gt``, RGB tensors ``(3, H, W)`` in
    [0, 1], and their paths. Grey, 16-bit and alpha images are converted to 8-bit RGB.

    Options:
        dataroot_gt: Folder or LMDB of clean images.
        io_backend: ``type: disk`` or ``type: lmdb``.
        noise: See :class:`maxl_sr.data.noise.Noise`.
        seed: Seed of the fixed noise; default 0.
        center_crop: Size of the central crop in validation and test; default the whole image.
        gt_size, use_hflip, use_rot: Crop and augmentation in training, as in BasicSR.

    Raises:
        UserError: An option is unknown or of the wrong type, or there are no images.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        where = f"datasets: {opt['phase']}"
        own_keys = ('dataroot_gt', 'io_backend', 'noise', 'seed', 'center_crop')
        check_keys(where, opt, [*LOADER_KEYS, *AUGMENT_KEYS, *own_keys])
        for key in ('dataroot_gt', 'io_backend', *(AUGMENT_KEYS if opt['phase'] == 'train' else ())):
            if key not in opt:
                raise UserError(f"{where}: key '{key}' is missing")
        check_backend(where, opt)
        self.opt = opt
        self.noise = parse(Noise, opt.get('noise') or {}, f'{where}: noise')
        self.seed = check_int(where, opt, 'seed', low=0) or 0
        self.center_crop = check_int(where, opt, 'center_crop')
        check_int(where, opt, 'gt_size')
        if opt.get('scale', 1) != 1:
            raise UserError(f"{where}: scale must be 1, not {opt['scale']!r}: noise does not change the size")
        root = opt['dataroot_gt']
        self.io_backend_opt = dict(opt['io_backend'])
        self.file_client: FileClient | None = None
        if self.io_backend_opt['type'] == 'lmdb':
            self.io_backend_opt.update(db_paths=[root], client_keys=['gt'])
            self.paths = sorted(paths_from_lmdb(root))
        else:
            self.paths = sorted(path for path in scandir(root, full_path=True) if path.lower().endswith(EXTENSIONS))
        if not self.paths:
            raise UserError(f'{where}: no images in {root}')

    def __getitem__(self, index: int) -> dict[str, Any]:
        if self.file_client is None:
            backend = dict(self.io_backend_opt)
            self.file_client = FileClient(backend.pop('type'), **backend)
        path = self.paths[index]
        clean = read_image(self.file_client, path, 'gt')
        if self.opt['phase'] == 'train':
            size = self.opt['gt_size']
            if min(clean.shape[:2]) < size:
                raise UserError(f'{path} ({clean.shape[1]}×{clean.shape[0]}) is smaller than gt_size {size}')
            clean, _ = paired_random_crop(clean, clean, size, 1, path)
            clean = augment(clean.copy(), self.opt['use_hflip'], self.opt['use_rot'])
            rng = np.random.default_rng(random.getrandbits(64))
        else:
            height, width = clean.shape[:2]
            clean = clean[center_crop_window(height, self.center_crop), center_crop_window(width, self.center_crop)]
            name = osp.splitext(osp.basename(path))[0]  # the key of an LMDB has no suffix
            rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        noisy = add_noise(clean, self.noise, rng)
        lq, gt = img2tensor([noisy, np.ascontiguousarray(clean)], bgr2rgb=True, float32=True)
        return {'lq': lq, 'gt': gt, 'lq_path': path, 'gt_path': path}

    def __len__(self) -> int:
        return len(self.paths)

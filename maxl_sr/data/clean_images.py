"""What the data sets share that degrade clean images on the fly."""

import random
import zlib
from abc import ABC, abstractmethod
from os import path as osp
from typing import Any

import cv2
import numpy as np
from basicsr.data.data_util import paths_from_lmdb
from basicsr.data.transforms import augment, paired_random_crop
from basicsr.utils import FileClient, img2tensor, scandir
from torch.utils.data import Dataset

from maxl_sr.data.data_util import EXTENSIONS, center_crop_window, read_image, section_of
from maxl_sr.errors import UserError


class CleanImageDataset(Dataset[Any], ABC):
    """Pairs (degraded, clean) from clean images on disk or in an LMDB; a subclass says how they are degraded.

    In training every visit of an image draws crop, flips and degradation anew. In validation and test the degradation
    of an image is fixed by ``seed`` and its file name without suffix, and the result is rounded to 8 bits. Items are
    ``lq`` and ``gt``, RGB tensors ``(3, H, W)`` in [0, 1], and their paths. Grey, 16-bit and alpha images are converted
    to 8-bit RGB.

    With ``grey`` a share of the images is turned to grey, and so is their noise. With ``light`` the clean image is made
    darker or lighter before it is degraded.

    Raises:
        UserError: An option is unknown, missing or of the wrong type, or there are no images.
    """

    section: Any  # the model of its section

    def __init__(self, opt: dict[str, Any]) -> None:
        self.where = where = f"datasets: {opt['phase']}"
        self.opt = opt
        self.options = options = section_of(self.section, opt, where)
        self.scale = opt.get('scale', 1)
        self.seed = options.seed or 0
        self.center_crop, self.grey, self.light = options.center_crop, options.grey, options.light
        if (options.gt_size or 0) % self.scale:
            raise UserError(f"{where}: gt_size must be a multiple of scale {self.scale}, not {opt['gt_size']}")
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

    @abstractmethod
    def degrade(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return the degraded image (H/s, W/s, 3) of `clean` (H, W, 3), BGR, float32 in [0, 1], drawn from `rng`."""

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
            height, width = (size - size % self.scale for size in clean.shape[:2])
            if not height or not width:
                raise UserError(f'{path} ({clean.shape[1]}×{clean.shape[0]}) is smaller than scale {self.scale}')
            clean = clean[:height, :width]
            name = osp.splitext(osp.basename(path))[0]  # the key of an LMDB has no suffix
            rng = np.random.default_rng([self.seed, zlib.crc32(name.encode('utf-8', 'surrogateescape'))])
        if self.light is not None:
            clean = np.clip(clean * np.float32(rng.uniform(*self.light)), 0, 1)
        grey = self.grey == 1 or self.grey > 0 and rng.random() < self.grey
        if grey:
            clean = cv2.cvtColor(cv2.cvtColor(clean, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        degraded = self.degrade(clean, rng)
        if grey:  # one channel: its noise has the strength that was asked for, that of their mean has less
            degraded = np.repeat(degraded[..., 1:2], 3, 2)
        if self.opt['phase'] != 'train':
            degraded = np.round(degraded * 255).astype(np.float32) / 255  # as a file would hold it
        lq, gt = img2tensor([degraded, np.ascontiguousarray(clean)], bgr2rgb=True, float32=True)
        return {'lq': lq, 'gt': gt, 'lq_path': path, 'gt_path': path}

    def __len__(self) -> int:
        return len(self.paths)

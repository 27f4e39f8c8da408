"""Several data sets of pairs at once, sampled without bias."""

import math
import random
from typing import Any

import numpy as np
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from maxl_sr.data.data_util import AUGMENT_KEYS, LOADER_KEYS, center_crop_window, check_backend, check_int, read_image
from maxl_sr.data.pair_augmentation import PairAugmentation, augment_pair
from maxl_sr.data.synthetic_degradation_dataset import SyntheticDegradationDataset
from maxl_sr.data.synthetic_noise_dataset import SyntheticNoiseDataset
from maxl_sr.errors import UserError
from maxl_sr.utils.options import check_choice, check_keys, parse

SET_KEYS = ('dataroot_gt', 'dataroot_lq', 'io_backend', 'filename_tmpl', 'meta_info_file')
KINDS = {kind.__name__: kind for kind in (PairedImageDataset, SyntheticNoiseDataset, SyntheticDegradationDataset)}


@DATASET_REGISTRY.register()
class MixedPairedDataset(Dataset):
    """BasicSR's ``PairedImageDataset`` for one or several sets, each of which is drawn equally often whatever its size.

    Item ``i`` is of set ``i mod n``; an epoch visits the images of the largest set once and draws as many from each of
    the others, all its images with the same probability. Items are those of ``PairedImageDataset``, in the order of
    their names.

    Options:
        sets (list of sections, none): In training: the sets, each with the keys from ``dataroot_gt`` to ``augment``
            below, or with ``type: SyntheticNoiseDataset`` or ``type: SyntheticDegradationDataset`` and the keys of
            that. Without ``sets`` the keys of one set of pairs stand in the section itself.
        dataroot_gt (text, required without ``sets``): Folder or LMDB of clean images.
        dataroot_lq (text, required without ``sets``): Folder or LMDB of noisy (blurred, small) images, of the same
            names.
        io_backend (section, required without ``sets``): ``type: disk``, or ``type: lmdb``.
        filename_tmpl (text, '{}'): Name, without suffix, of the noisy image that belongs to the clean one named ``{}``.
        meta_info_file (text or null, null): Text file that lists the clean images to be used, one in a line.
        augment (section or null, null): Training: changes of the pairs,
            :class:`~maxl_sr.data.pair_augmentation.PairAugmentation`; for scale 1.
        center_crop (integer or null, null): Validation and test: side of the central crop of the input, in pixels;
            null: the whole image.
        gt_size (integer, required in training): Side of the random square crop of the clean image, in pixels; a
            multiple of the scale.
        use_hflip (true or false, required in training): Whether images are flipped left to right at random.
        use_rot (true or false, required in training): Whether images are flipped up and down and transposed at random.

    Raises:
        UserError: An option is unknown, missing or of the wrong type, or a set has no images.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        where = f"datasets: {opt['phase']}"
        common = [*LOADER_KEYS, *AUGMENT_KEYS, 'center_crop']
        several = 'sets' in opt
        train = opt['phase'] == 'train'
        check_keys(where, opt, [*common, 'sets'] if several else [*common, *SET_KEYS, *(['augment'] if train else [])])
        if several and not train:
            raise UserError(f'{where}: sets are for training; call the data sets {opt["phase"]}_1, {opt["phase"]}_2, …')
        if several and not (isinstance(opt['sets'], list) and opt['sets']):
            raise UserError(f"{where}: sets must be a list of sections, not {opt['sets']!r}")
        for key in AUGMENT_KEYS if train else ():
            if key not in opt:
                raise UserError(f"{where}: key '{key}' is missing")
        self.opt = opt
        self.center_crop = check_int(where, opt, 'center_crop')
        self.size = check_int(where, opt, 'gt_size') or 0
        self.sets: list[Any] = []
        self.augmentations: list[PairAugmentation | None] = []
        own = (*SET_KEYS, 'augment')
        for number, section in enumerate(opt['sets'] if several else [{k: opt[k] for k in own if k in opt}]):
            place = f'{where}: sets[{number}]' if several else where
            if not isinstance(section, dict):
                raise UserError(f'{place} must be a section, not {section!r}')
            self._add(place, dict(section))

    def _add(self, place: str, section: dict[str, Any]) -> None:
        """Append the set that `section` describes."""
        kind = section.pop('type', 'PairedImageDataset')
        check_choice(f'{place}: type', kind, KINDS)
        shared = {key: self.opt[key] for key in ('phase', *AUGMENT_KEYS) if key in self.opt}
        shared['scale'] = scale = self.opt.get('scale', 1)
        augmentation = None
        if kind != 'PairedImageDataset':
            own = KINDS[kind]({**shared, **section})
        else:
            check_keys(place, section, [*SET_KEYS, 'name', 'augment'])
            for key in ('dataroot_gt', 'dataroot_lq', 'io_backend'):
                if key not in section:
                    raise UserError(f"{place}: key '{key}' is missing")
            check_backend(place, section)
            if section.get('augment') is not None:
                augmentation = parse(PairAugmentation, section.pop('augment'), f'{place}: augment')
                if scale != 1:
                    raise UserError(f'{place}: augment is for images of one size, not for scale {scale}')
                shared['gt_size'] = math.ceil(self.size / min(augmentation.resize[0], 1))
            # A copy of io_backend: PairedImageDataset writes into it
            own = PairedImageDataset({**shared, **section, 'io_backend': dict(section['io_backend'])})
            # os.scandir lists a folder in an order of its own on every machine
            own.paths.sort(key=lambda pair: pair['gt_path'])
            if not len(own):
                raise UserError(f"{place}: no images in {section['dataroot_gt']}")
        self.sets.append(own)
        self.augmentations.append(augmentation)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pairs = self.sets[index % len(self.sets)]
        largest = len(self) // len(self.sets)
        number = index // len(self.sets) if len(pairs) == largest else random.randrange(len(pairs))
        try:
            item = pairs[number]
        except Exception:
            for key in ('gt', 'lq') if isinstance(pairs, PairedImageDataset) and pairs.file_client else ():
                # name the file, where one of the two is the reason
                read_image(pairs.file_client, pairs.paths[number][f'{key}_path'], key)
            raise
        augmentation = self.augmentations[index % len(self.sets)]
        if augmentation is not None:
            rng = np.random.default_rng(random.getrandbits(64))
            noisy, clean = (item[key].permute(1, 2, 0).numpy() for key in ('lq', 'gt'))
            images = augment_pair(noisy, clean, self.size, augmentation, rng)
            item['lq'], item['gt'] = (torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
                                      for image in images)
        if self.opt['phase'] != 'train' and self.center_crop is not None:
            scale = pairs.opt['scale']
            rows, columns = (center_crop_window(size, self.center_crop) for size in item['lq'].shape[-2:])
            item['lq'] = item['lq'][:, rows, columns]
            item['gt'] = item['gt'][:, rows.start * scale:rows.stop * scale, columns.start * scale:columns.stop * scale]
        return item

    def __len__(self) -> int:
        return len(self.sets) * max(len(pairs) for pairs in self.sets)

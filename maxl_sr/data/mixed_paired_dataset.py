"""Several data sets of pairs at once, sampled without bias."""

import bisect
import itertools
import math
import random
from typing import Any

import numpy as np
import torch
from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from maxl_sr.data.data_util import AUGMENT_KEYS, center_crop_window, read_image, section_of
from maxl_sr.data.pair_augmentation import PairAugmentation, augment_pair
from maxl_sr.data.sections import BY_BASICSR, MixedPairs, MixedSets, Pairs, PairSet
from maxl_sr.data.synthetic_degradation_dataset import SyntheticDegradationDataset
from maxl_sr.data.synthetic_noise_dataset import SyntheticNoiseDataset
from maxl_sr.errors import UserError
from maxl_sr.settings.messages import keys
from maxl_sr.settings.section import parse
from maxl_sr.settings.values import check_choice, check_keys

KINDS = {kind.__name__: kind for kind in (PairedImageDataset, SyntheticNoiseDataset, SyntheticDegradationDataset)}


@DATASET_REGISTRY.register()
class MixedPairedDataset(Dataset[Any]):
    """BasicSR's ``PairedImageDataset`` for one or several sets, each of which is drawn equally often whatever its size.

    Item ``i`` is of set ``i mod n``; an epoch visits the images of the largest set once and draws as many from each of
    the others, all its images with the same probability. With ``by: image`` the sets are one after the other, and an
    epoch visits every image of all of them once. Items are those of ``PairedImageDataset``, in the order of their
    names.

    Its keys are listed in the reference of the option files, ``docs/options.md``.

    Raises:
        UserError: An option is unknown, missing or of the wrong type, or a set has no images.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        where = f"datasets: {opt['phase']}"
        several, train = 'sets' in opt, opt['phase'] == 'train'
        model: type[MixedSets | MixedPairs] = MixedSets if several else MixedPairs
        check_keys(where, opt, [key for key in (*keys(model), *BY_BASICSR) if train or key != 'augment'])
        if several and not train:
            raise UserError(f'{where}: sets are for training; call the data sets {opt["phase"]}_1, {opt["phase"]}_2, …')
        if several and not (isinstance(opt['sets'], list) and opt['sets']):
            raise UserError(f"{where}: sets must be a list of sections, not {opt['sets']!r}")
        self.opt = opt
        options = section_of(model, opt, where)
        self.center_crop, self.size = options.center_crop, options.gt_size or 0
        self.by = options.by if isinstance(options, MixedSets) else 'set'
        self.sets: list[Any] = []
        self.augmentations: list[PairAugmentation | None] = []
        for number, section in enumerate(opt['sets'] if several else [{k: opt[k] for k in keys(Pairs) if k in opt}]):
            place = f'{where}: sets[{number}]' if several else where
            if not isinstance(section, dict):
                raise UserError(f'{place} must be a section, not {section!r}')
            self._add(place, dict(section))
        self.ends = list(itertools.accumulate(len(pairs) for pairs in self.sets))

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
            augmentation = parse(PairSet, section, place).augment
            section.pop('augment', None)
            if augmentation is not None:
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

    def _find(self, index: int) -> tuple[int, int]:
        """The set of an item, and its number in it."""
        if self.by == 'image':
            which = bisect.bisect_right(self.ends, index)
            return which, index - (self.ends[which - 1] if which else 0)
        number, which = divmod(index, len(self.sets))
        size = len(self.sets[which])
        return which, number if size == len(self) // len(self.sets) else random.randrange(size)

    def __getitem__(self, index: int) -> dict[str, Any]:
        which, number = self._find(index)
        pairs = self.sets[which]
        try:
            item = pairs[number]
        except Exception:
            for key in ('gt', 'lq') if isinstance(pairs, PairedImageDataset) and pairs.file_client else ():
                # name the file, where one of the two is the reason
                read_image(pairs.file_client, pairs.paths[number][f'{key}_path'], key)
            raise
        augmentation = self.augmentations[which]
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
        return self.ends[-1] if self.by == 'image' else len(self.sets) * max(len(pairs) for pairs in self.sets)

"""The data sets: whether they can be made, and whether every image can be read and fits."""

import inspect
import os
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from os import path as osp
from typing import Any

from basicsr.utils import scandir
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from maxl_sr.data.data_util import check_backend
from maxl_sr.data.sections import BY_BASICSR, Loader
from maxl_sr.errors import UserError, telling
from maxl_sr.preflight.lmdb_images import Size, check_files, listed_sizes, lmdb_sizes
from maxl_sr.preflight.sections import check_bool, require
from maxl_sr.settings.option_file import check_name
from maxl_sr.settings.values import check_choice, check_count, check_keys, names
from maxl_sr.utils.lmdb_probe import PagesError, image_size
from maxl_sr.utils.seeding import seeded

BOOLEANS = ('use_hflip', 'use_rot', 'use_shuffle', 'pin_memory', 'persistent_workers', 'cache_data', 'random_reverse',
            'flip_sequence', 'use_duf_downsampling', 'test_mode')
MOST = {'batch_size_per_gpu': 2**16, 'num_worker_per_gpu': 512, 'num_prefetch_queue': 2**16}
LONGEST_EPOCH = 10**7  # BasicSR draws the order of an epoch at once
Smallest = dict[str, tuple[str, Size]]


def check_datasets(opt: Mapping[str, Any]) -> Smallest:
    """Check all data sets; return name and size of the smallest ground truth of those that are validated or tested."""
    known = ('train', 'val') if opt['is_train'] else ('test', 'val')
    if not opt['datasets']:
        raise UserError('datasets: there is no data set')
    owner: dict[str, str] = {}
    smallest: Smallest = {}
    shown: dict[str, str] = {}
    for name, section in opt['datasets'].items():
        where = f'datasets: {name}'
        if section['phase'] not in known:
            raise UserError(f'{where}: a {"training" if opt["is_train"] else "test"} takes data sets called '
                            f'{" and ".join(known)} (or {known[1]}_1 and so on)')
        if section['phase'] == 'train' and name != 'train':
            raise UserError(f'{where}: a training has one data set called train; several are its sets')
        require(where, section, ('name', 'type'))
        check_name(f'{where}: name', section['name'])
        if section['phase'] != 'train':  # their figures and pictures go under this name
            if section['name'] in owner:
                raise UserError(f"{where}: name {section['name']!r} is that of datasets: {owner[section['name']]}, "
                                'whose results would be written over')
            owner[section['name']] = name
        dataset = _check_dataset(where, section, opt['rank'])
        if section['phase'] == 'train' or opt['rank'] != 0:
            continue
        _check_metrics_have_images(where, dataset, opt)
        size = _smallest(dataset)
        if size is not None:
            smallest[where] = size
        if (opt.get('val') or {}).get('save_img'):
            _check_pictures(where, dataset, {} if not opt['is_train'] else shown)
    return smallest


def _check_dataset(where: str, section: dict[str, Any], rank: int) -> Any:
    check_choice(f'{where}: type', section['type'], names(DATASET_REGISTRY))
    check_bool(where, section, *BOOLEANS)
    _check_keys_of_basicsr(where, section)
    _check_loader(where, section)
    parts = section['sets'] if isinstance(section.get('sets'), list) else [section]
    for number, part in enumerate(parts):
        _check_roots(f'{where}: sets[{number}]' if 'sets' in section else where, part)
        _check_file_names(f'{where}: sets[{number}]' if 'sets' in section else where, section['type'], part)
    with telling(where):  # BasicSR's own asserts
        dataset = DATASET_REGISTRY.get(section['type'])(deepcopy(section))
    if not len(dataset):
        raise UserError(f'{where}: there are no images')
    if section['phase'] == 'train' and len(dataset) * section.get('dataset_enlarge_ratio', 1) > LONGEST_EPOCH:
        raise UserError(f'{where}: dataset_enlarge_ratio: {len(dataset)} images × {section["dataset_enlarge_ratio"]} '
                        f'are more than {LONGEST_EPOCH:,} in an epoch')
    for part in getattr(dataset, 'sets', [dataset]) if rank == 0 else []:  # the same files for every process
        _check_images(where, part, section)
    with telling(where), seeded(0):  # what a data set reads from its options when it makes an item
        dataset[0]
    return dataset


def _check_keys_of_basicsr(where: str, section: Mapping[str, Any]) -> None:
    """Refuse a key that a data set of BasicSR does not read: it would pass over it."""
    kind = DATASET_REGISTRY.get(section['type'])
    if kind.__module__.startswith('basicsr.'):
        classes = [cls for cls in inspect.getmro(kind) if cls.__module__.startswith('basicsr.')]
        source = ''.join(map(inspect.getsource, classes))
        found = re.findall(r"opt(?:\.get\(|\[)'(\w+)'|'(\w+)' (?:not )?in (?:self\.)?opt", source)
        check_keys(where, section, [*Loader.model_fields, *BY_BASICSR, 'type', 'io_backend',
                                    *(key for pair in found for key in pair if key)])


def _check_loader(where: str, section: Mapping[str, Any]) -> None:
    if section['phase'] == 'train':
        require(where, section, ('batch_size_per_gpu', 'num_worker_per_gpu'))
        check_count(f'{where}: dataset_enlarge_ratio', section.get('dataset_enlarge_ratio', 1))
    for key, low in (('batch_size_per_gpu', 1), ('num_worker_per_gpu', 0), ('num_prefetch_queue', 1)):
        value = section.get(key, low)
        check_count(f'{where}: {key}', value, low)
        if value > MOST[key]:
            raise UserError(f'{where}: {key} must be at most {MOST[key]}, not {value!r}')
    if section.get('prefetch_mode') is not None:
        check_choice(f'{where}: prefetch_mode', section['prefetch_mode'], ('cpu', 'cuda'))
    if section.get('prefetch_mode') == 'cuda' and section.get('pin_memory') is not True:
        raise UserError(f'{where}: prefetch_mode: cuda needs pin_memory: true')
    if section.get('persistent_workers') and (section['phase'] != 'train' or not section['num_worker_per_gpu']):
        raise UserError(f'{where}: persistent_workers: true needs a training with num_worker_per_gpu of at least 1')


def _check_roots(where: str, section: Any) -> None:
    if not isinstance(section, Mapping):
        raise UserError(f'{where} must be a section, not {section!r}')
    check_bool(where, section, *BOOLEANS)
    if 'io_backend' in section:
        check_backend(where, section)
    is_lmdb = 'io_backend' in section and section['io_backend']['type'] == 'lmdb'
    roots = {key: section[key] for key in ('dataroot_gt', 'dataroot_lq') if section.get(key) is not None}
    for key, root in roots.items():
        if not isinstance(root, str) or not osp.isdir(root):
            raise UserError(f'{where}: {key}: there is no folder {root}')
        if is_lmdb:
            check_files(f'{where}: {key}', root)
            listed_sizes(root)
    listed = section.get('meta_info_file')
    if listed is not None and not (isinstance(listed, str) and osp.isfile(listed)):
        raise UserError(f'{where}: meta_info_file: there is no file {listed!r}')
    if len(roots) == 2 and is_lmdb:
        lq, gt = (listed_sizes(roots[f'dataroot_{key}']).keys() for key in ('lq', 'gt'))
        for odd in sorted(lq ^ gt)[:1]:
            has, lacks = (roots[f'dataroot_{key}'] for key in (('lq', 'gt') if odd in lq else ('gt', 'lq')))
            raise UserError(f"{where}: {has} holds '{odd}', but {lacks} does not")
    elif len(roots) == 2 and listed is None and section.get('type', 'Paired') in ('Paired', 'PairedImageDataset',
                                                                                 'MixedPairedDataset'):
        _check_pairs(where, roots['dataroot_gt'], roots['dataroot_lq'], section.get('filename_tmpl', '{}'))


def _check_file_names(where: str, kind: str, section: Mapping[str, Any]) -> None:
    """Refuse names that are no UTF-8 where a data set leaves the reading to OpenCV, which they end."""
    source = inspect.getsource(inspect.getmodule(DATASET_REGISTRY.get(kind)))  # type: ignore[arg-type]
    if not any(call in source for call in ('read_img_seq', 'cv2.imread', 'cv2.VideoCapture')):
        return
    for root in (section.get(key) for key in ('dataroot_gt', 'dataroot_lq')):
        for parent, folders, files in os.walk(root) if isinstance(root, str) else ():
            for name in (parent, *folders, *files):
                if os.fsencode(name) != name.encode('utf-8', 'replace'):
                    raise UserError(f'{where}: a {kind} cannot read {name!r} in {parent!r}: its name is not UTF-8')


def _check_pairs(where: str, gt: str, lq: str, template: Any) -> None:
    """Every ground truth has its input, and every input its ground truth; otherwise the odd file is named."""
    try:
        expected = {f'{template.format(stem)}{ext}': stem + ext for stem, ext in map(osp.splitext, scandir(gt))}
    except (AttributeError, ValueError, LookupError) as error:
        raise UserError(f'{where}: filename_tmpl: {template!r} is no name with {{}} in it') from error
    inputs = set(scandir(lq))
    counts = '' if len(expected) == len(inputs) else \
        f'lq and gt have different numbers of images: {len(inputs)}, {len(expected)}: '
    for name in sorted(expected.keys() - inputs)[:1]:
        raise UserError(f'{where}: {counts}dataroot_lq {lq} has no {name}, which by filename_tmpl {template!r} belongs '
                        f'to {expected[name]} of dataroot_gt {gt}')
    for name in sorted(inputs - expected.keys())[:1]:
        raise UserError(f'{where}: {counts}dataroot_lq {lq} has {name}, to which by filename_tmpl {template!r} no file '
                        f'of dataroot_gt {gt} belongs')


def _check_images(where: str, dataset: Dataset[Any], section: dict[str, Any]) -> None:
    """Every image can be read, both of a pair fit, and none is smaller than the training crop."""
    scale = dataset.opt.get('scale', 1)  # type: ignore[attr-defined]
    crop = section.get('gt_size') if section['phase'] == 'train' else None
    if crop is None and section['phase'] == 'train' and 'gt_size' in section:
        raise UserError(f'{where}: gt_size must be an integer of at least 1, not null')
    sizes_of: list[tuple[str, dict[str, Size]]] = []
    for name, sizes in _sizes(dataset):
        sizes_of.append((name, sizes))
        gt, lq = sizes.get('gt'), sizes.get('lq')
        if gt is not None and lq is not None:
            # In validation BasicSR crops what is left of a ground truth whose size is no multiple of the scale
            fits = gt == (lq[0] * scale, lq[1] * scale) if section['phase'] == 'train' else \
                lq == (gt[0] // scale, gt[1] // scale)
            if not fits:
                raise UserError(f'{where}: {name}: the ground truth is {gt[0]}×{gt[1]} and the input {lq[0]}×{lq[1]} '
                                f'pixels, which does not fit scale {scale}')
        if gt is not None and lq is None and scale > 1 and min(gt) < 4 * scale:
            raise UserError(f'{where}: {name} ({gt[0]}×{gt[1]}) is too small for scale {scale}: it must have at least '
                            f'{4 * scale} pixels in each direction')
        if crop is not None and gt is not None and min(gt) < crop:
            raise UserError(f'{where}: {name} ({gt[0]}×{gt[1]}) is smaller than gt_size {crop}')
    dataset.checked_sizes = sizes_of  # type: ignore[attr-defined]


def _sizes(dataset: Any) -> Iterator[tuple[str, dict[str, Size]]]:
    """Yield (name, width and height of 'gt' and 'lq') of every item of a data set that lists ``paths``."""
    paths = getattr(dataset, 'paths', [])
    opt = dataset.opt
    if (opt.get('io_backend') or {}).get('type') == 'lmdb':
        meta = {key: lmdb_sizes(opt[f'dataroot_{key}']) for key in ('gt', 'lq') if opt.get(f'dataroot_{key}')}
        for item in paths:
            name = item['gt_path'] if isinstance(item, dict) else item
            yield name, {key: sizes[name] for key, sizes in meta.items() if name in sizes}
        return
    single = 'gt' if opt.get('dataroot_gt') else 'lq'
    for item in paths:
        files = {key: item[f'{key}_path'] for key in ('gt', 'lq')} if isinstance(item, dict) else {single: item}
        yield next(iter(files.values())), {key: _image_size(file) for key, file in files.items()}


def _image_size(path: str) -> Size:
    if not osp.isfile(path):
        raise UserError(f'cannot read the image {path}: there is no such file')
    try:
        state = os.stat(path)
        return _size_of(path, state.st_size, state.st_mtime_ns)
    except PagesError as error:
        raise UserError(f'{path}: {error}; one image a file can be read') from error
    except Exception as error:
        raise UserError(f'cannot read the image {path}: unknown format, damaged or truncated') from error


@cache
def _size_of(path: str, length: int, changed: int) -> Size:
    """Read a file once, though several data sets of an option file name it."""
    with open(path, 'rb') as file:
        return image_size(file, length)


def _smallest(dataset: Any) -> tuple[str, Size] | None:
    """Return name and size of the smallest ground truth as it is compared, where the data set tells sizes."""
    scale, crop = dataset.opt.get('scale', 1), dataset.opt.get('center_crop')
    parts = getattr(dataset, 'sets', [dataset])
    found = []
    for name, sizes in (item for part in parts for item in getattr(part, 'checked_sizes', [])):
        size = sizes.get('lq') or tuple(side // scale for side in sizes['gt'])
        width, height = (min(side, crop or side) * scale for side in size)
        found.append((name, (width, height)))
    return min(found, key=lambda item: min(item[1]), default=None)


def _check_metrics_have_images(where: str, dataset: Any, opt: Mapping[str, Any]) -> None:
    metrics = (opt.get('val') or {}).get('metrics') or {}
    compared = [name for name, metric in metrics.items() if 'niqe' not in metric['type']]
    if compared and 'gt' not in dataset[0]:
        raise UserError(f'{where} has no ground truth, which val: metrics: {compared[0]} needs')


def _check_pictures(where: str, dataset: Any, shown: dict[str, str]) -> None:
    """Refuse images whose pictures would be written to one file."""
    for part in getattr(dataset, 'sets', [dataset]):
        for item in getattr(part, 'paths', []):
            path = item['lq_path'] if isinstance(item, dict) else item
            stem = osp.splitext(osp.basename(path))[0]
            if stem in shown:
                raise UserError(f'{where}: val: save_img: the pictures of {path} and {shown[stem]} would be written to '
                                'one file; rename one')
            shown[stem] = path

"""What an option file asks for is checked before anything is written.

BasicSR makes the experiment's folder first and fails later; here networks, checkpoints, data sets, losses and metrics
are looked at beforehand, and the first fault becomes one sentence that names the file, key or value.
"""

import inspect
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from os import path as osp
from typing import Any

import lmdb
import torch
import yaml
from basicsr.models.base_model import BaseModel
from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY
from PIL import Image
from torch.utils.data import Dataset

from maxl_sr.data.data_util import check_backend
from maxl_sr.errors import UserError
from maxl_sr.resume import seeded
from maxl_sr.utils.options import (
    check_choice,
    check_component,
    check_count,
    check_keys,
    check_loss,
    check_no_text_numbers,
    check_number,
    check_optimizer,
    names,
)

Size = tuple[int, int]
SCHEDULERS = {'MultiStepLR': MultiStepRestartLR, 'MultiStepRestartLR': MultiStepRestartLR,
              'CosineAnnealingRestartLR': CosineAnnealingRestartLR}


def preflight(opt: dict[str, Any]) -> None:
    """Check the options `opt`, as BasicSR's ``parse_options`` returns them.

    Raises:
        UserError: The first fault found.
    """
    check_choice('model_type', opt['model_type'], names(MODEL_REGISTRY))
    if opt['num_gpu'] and not torch.cuda.is_available():
        raise UserError(f"num_gpu is {opt['num_gpu']}, but torch sees no GPU here; set num_gpu: 0")
    _require('the option file', opt, ('network_g', ))
    model = MODEL_REGISTRY.get(opt['model_type'])
    if opt['is_train']:
        _check_training(opt)
    _check_validation(opt)
    resumed = _check_resume(opt) if opt['is_train'] else None
    nets = {name: check_network(opt, name, resumed) for name in list(opt)
            if name.startswith('network_') and opt[name] is not None}
    if hasattr(model, 'check_options'):
        model.check_options(opt)
        _check_scale(nets['network_g'], opt)
    elif (opt.get('val') or {}).get('adapt') is not None:
        raise UserError(f"val: adapt: a {opt['model_type']} does not adapt; use MAXLModel or MetaTransferModel")
    for name, section in opt['datasets'].items():
        known = ('train', 'val') if opt['is_train'] else ('test', 'val')
        if section['phase'] not in known:
            raise UserError(f'datasets: {name}: a {"training" if opt["is_train"] else "test"} takes data sets called '
                            f'{" and ".join(known)} (or {known[1]}_1 and so on)')
        _check_dataset(f'datasets: {name}', section, opt['rank'])


@contextmanager
def _telling(where: str) -> Iterator[None]:
    """Turn what BasicSR and torch raise at a wrong option into a ``UserError`` that names the section."""
    try:
        yield
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f'{where}: key {error} is missing') from error
    except Exception as error:
        raise UserError(f'{where}: {" ".join(str(error).split())}') from error


def _require(where: str, section: Any, keys: Iterable[str]) -> None:
    if not isinstance(section, Mapping):
        raise UserError(f'{where} must be a section, not {section!r}')
    for key in keys:
        if key not in section:
            raise UserError(f"{where}: key '{key}' is missing")


def _check_training(opt: dict[str, Any]) -> None:
    _require('the option file', opt, ('train', 'logger'))
    _require('logger', opt['logger'], ('print_freq', 'save_checkpoint_freq', 'use_tb_logger'))
    _require('datasets', opt['datasets'], ('train', ))
    train = opt['train']
    _require('train', train, ('total_iter', 'optim_g', 'scheduler'))
    check_count('train: total_iter', train['total_iter'])
    check_number('train', train, 'warmup_iter', low=-1)
    check_number('train', train, 'ema_decay', low=0, high=1)
    for key in ('print_freq', 'save_checkpoint_freq'):
        check_count(f'logger: {key}', opt['logger'][key])
    for key in [key for key in train if key.startswith('optim_')]:
        _require(f'train: {key}', train[key], ('type', 'lr'))
        check_optimizer(f'train: {key}', train[key])
        optimizer = _optimizer(f'train: {key}', **train[key])
    scheduler = train['scheduler']
    _require('train: scheduler', scheduler, ('type', ))
    check_choice('train: scheduler: type', scheduler['type'], SCHEDULERS)
    check_no_text_numbers('train: scheduler', scheduler)
    arguments = {key: value for key, value in scheduler.items() if key != 'type'}
    check_keys('train: scheduler', arguments, inspect.signature(SCHEDULERS[scheduler['type']]).parameters)
    with _telling('train: scheduler'):
        SCHEDULERS[scheduler['type']](optimizer, **arguments)
    if train.get('pixel_opt') is not None:
        check_loss('train: pixel_opt', train['pixel_opt'])


def _optimizer(where: str, type: str, lr: float, **arguments: Any) -> torch.optim.Optimizer:
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    try:
        kind = BaseModel.get_optimizer(None, type, parameters, lr).__class__
    except NotImplementedError as error:
        raise UserError(f'{where}: type: BasicSR has no optimizer {type!r}; it has Adam') from error
    check_keys(where, arguments, inspect.signature(kind).parameters)
    with _telling(where):
        return kind(parameters, lr, **arguments)


def read_option_file(path: str) -> dict[str, Any]:
    """Return an option file after a look at its outermost level, which ``parse_options`` takes for granted.

    Raises:
        UserError: It is no option file, or a section is missing or none.
    """
    try:
        with open(path, encoding='utf-8') as file:
            opt = yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f'{path} is not valid YAML: {" ".join(str(error).split())}') from error
    if not isinstance(opt, dict):
        raise UserError(f'{path} is no option file: it holds no sections')
    for key, kind in {'name': str, 'model_type': str, 'num_gpu': object, 'datasets': dict, 'path': dict}.items():
        if key not in opt:
            raise UserError(f"{path}: key '{key}' is missing")
        if not isinstance(opt[key], kind):
            raise UserError(f'{path}: {key} cannot be {opt[key]!r}')
    for key in ('train', 'val', 'logger'):
        if not isinstance(opt.get(key), (dict, type(None))):
            raise UserError(f'{path}: {key} must be a section, not {opt[key]!r}')
    if not isinstance(opt.get('manual_seed', 0), (int, type(None))):
        raise UserError(f"{path}: manual_seed must be an integer, not {opt['manual_seed']!r}")
    for key, value in opt['path'].items():
        if ('resume_state' in key or 'pretrain_network' in key) and not isinstance(value, (str, type(None))):
            raise UserError(f'{path}: path: {key} must be a path, not {value!r}')
    if opt['num_gpu'] != 'auto' and (type(opt['num_gpu']) is not int or opt['num_gpu'] < 0):
        raise UserError(f"{path}: num_gpu must be a number of GPUs or auto, not {opt['num_gpu']!r}")
    for name, section in opt['datasets'].items():
        if not isinstance(section, dict):
            raise UserError(f'{path}: datasets: {name} must be a section, not {section!r}')
        for root in ('dataroot_gt', 'dataroot_lq'):
            if not isinstance(section.get(root, ''), (str, type(None))):
                raise UserError(f'{path}: datasets: {name}: {root} must be a path, not {section[root]!r}')
    return opt


def load_checkpoint(where: str, path: str) -> Any:
    """Return what torch saved in a file, or raise ``UserError`` that names it."""
    if not osp.isfile(path):
        raise UserError(f'{where}: there is no file {path}')
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        raise UserError(f'{where}: {path} is no checkpoint of torch, or not a whole one') from error


def _check_resume(opt: dict[str, Any]) -> int | None:
    """Return the iteration from which the training will be resumed; None where it begins anew."""
    path = opt['path'].get('resume_state')
    if opt['auto_resume']:
        folder = opt['path']['training_states']
        files = os.listdir(folder) if osp.isdir(folder) else []
        saved = [int(name.removesuffix('.state')) for name in files if name.endswith('.state')]
        path = osp.join(folder, f'{max(saved)}.state') if saved else None
    if not path:
        return None
    state = load_checkpoint('path: resume_state', path)
    if not isinstance(state, Mapping) or not {'epoch', 'iter', 'optimizers', 'schedulers'} <= state.keys():
        raise UserError(f'path: resume_state: {path} is no training state')
    optimizers = sum(key.startswith('optim_') for key in opt['train'])
    if opt.get('network_m') is None:
        optimizers -= 'optim_m' in opt['train']  # of a network that is not there
    if len(state['optimizers']) != optimizers:
        raise UserError(f"path: resume_state: {path} is of a training with {len(state['optimizers'])} optimizers, "
                        f'this one has {optimizers}')
    return state['iter']


def _check_validation(opt: dict[str, Any]) -> None:
    if opt.get('val') is None:
        if opt['is_train']:
            return
        raise UserError("the option file: key 'val' is missing")
    _require('val', opt['val'], ('save_img', 'val_freq') if opt['is_train'] else ('save_img', ))
    if opt['val']['save_img'] and not opt['is_train'] and 'suffix' not in opt['val']:
        raise UserError("val: key 'suffix' is missing (~ takes the name of the option file)")
    if opt['is_train']:
        check_count('val: val_freq', opt['val']['val_freq'])
    metrics = opt['val'].get('metrics') or {}
    _require('val: metrics', metrics, ())
    for name, metric in metrics.items():
        where = f'val: metrics: {name}'
        _require(where, metric, ('type', ))
        check_choice(f'{where}: type', metric['type'], names(METRIC_REGISTRY))
        parameters = inspect.signature(METRIC_REGISTRY.get(metric['type'])).parameters.values()
        _require(where, metric, [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD
                                 and p.name not in ('img', 'img2')])


def _check_scale(net: Any, opt: dict[str, Any]) -> None:
    """One pass through the network gives images of the scale of the option file."""
    size, scale = 32, opt.get('scale', 1)
    with _telling('network_g'), torch.no_grad():
        x = torch.full((1, 3, size, size), 0.5)
        heads = hasattr(net, 'forward_heads')
        output = net.eval().forward_heads(net.forward_features(x), x)[0] if heads else net.eval()(x)
    if output.shape != (1, 3, scale * size, scale * size):
        raise UserError(f"network_g: {opt['network_g']['type']} makes {tuple(output.shape[2:])} pixels of "
                        f'{(size, size)}, which does not fit scale: {scale}')


def check_network(opt: dict[str, Any], name: str, resumed: int | None = None, load: bool = False) -> torch.nn.Module:
    """Return the network that the section `name` describes, after a look at its checkpoint.

    Args:
        opt: The options.
        name: ``network_g`` or another.
        resumed: The iteration from which a training is resumed.
        load: Whether the network gets the weights of the checkpoint.

    Raises:
        UserError: The network cannot be made, or the checkpoint is none of it.
    """
    arguments = check_component(name, opt[name], ARCH_REGISTRY)
    kind = opt[name]['type']
    try:
        with torch.random.fork_rng():  # a look at the network does not change the training's random numbers
            net = ARCH_REGISTRY.get(kind)(**arguments)
    except Exception as error:
        raise UserError(f'{name}: {kind}: {error}') from error
    where = f'path: pretrain_{name}'
    path = opt['path'].get(f'pretrain_{name}')
    label = name.removeprefix('network_')
    if resumed is not None and name not in (opt['path'].get('ignore_resume_networks') or ()):
        where = 'path: resume_state'  # as BasicSR's check_resume
        path = osp.join(opt['path']['models'], f'net_{label}_{resumed}.pth')
    if path is not None:
        strict = opt['path'].get(f'strict_load_{label}', True)
        weights = _check_checkpoint(where, net, path, opt['path'].get(f'param_key_{label}', 'params'), strict)
        if load:
            net.load_state_dict(weights, strict)
    return net


def _check_checkpoint(where: str, net: torch.nn.Module, path: str, param_key: str | None,
                      strict: bool) -> dict[str, torch.Tensor]:
    weights = load_checkpoint(where, path)
    if param_key is not None and isinstance(weights, Mapping):
        key = param_key if param_key in weights else 'params'  # BasicSR falls back to params
        if key not in weights:
            raise UserError(f"{where}: {path} has no weights under the key '{param_key}'")
        weights = weights[key]
    if not isinstance(weights, Mapping) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
        raise UserError(f'{where}: {path} holds no weights of a network')
    loaded = {key.removeprefix('module.'): value for key, value in weights.items()}
    if not strict:
        return loaded
    own = net.state_dict()
    kind = type(net).__name__
    for key in sorted(own.keys() ^ loaded.keys()):
        which = 'lacks' if key in own else f'is not of a {kind}: it has'
        raise UserError(f"{where}: {path} {which} '{key}'; it is a checkpoint of another network than this {kind}")
    for key, value in own.items():
        if value.shape != loaded[key].shape:
            raise UserError(f"{where}: {path} is a checkpoint of another {kind}: '{key}' is {tuple(loaded[key].shape)} "
                            f'there and {tuple(value.shape)} here')
    return loaded


def _check_dataset(where: str, section: dict[str, Any], rank: int) -> None:
    _require(where, section, ('name', 'type'))
    check_choice(f'{where}: type', section['type'], names(DATASET_REGISTRY))
    if section['phase'] == 'train':
        _require(where, section, ('batch_size_per_gpu', 'num_worker_per_gpu'))
        check_count(f'{where}: batch_size_per_gpu', section['batch_size_per_gpu'])
        check_count(f'{where}: num_worker_per_gpu', section['num_worker_per_gpu'], low=0)
        check_count(f'{where}: dataset_enlarge_ratio', section.get('dataset_enlarge_ratio', 1))
        if section.get('prefetch_mode') is not None:
            check_choice(f'{where}: prefetch_mode', section['prefetch_mode'], ('cpu', 'cuda'))
        if section.get('prefetch_mode') == 'cuda' and section.get('pin_memory') is not True:
            raise UserError(f'{where}: prefetch_mode: cuda needs pin_memory: true')
    if section.get('persistent_workers') and (section['phase'] != 'train' or not section['num_worker_per_gpu']):
        raise UserError(f'{where}: persistent_workers: true needs a training with num_worker_per_gpu of at least 1')
    parts = section['sets'] if isinstance(section.get('sets'), list) else [section]
    for number, part in enumerate(parts):
        _check_roots(f'{where}: sets[{number}]' if 'sets' in section else where, part)
    with _telling(where):  # BasicSR's own asserts, on unequal numbers of images for one
        dataset = DATASET_REGISTRY.get(section['type'])(deepcopy(section))
    if not len(dataset):
        raise UserError(f'{where}: there are no images')
    for part in getattr(dataset, 'sets', [dataset]) if rank == 0 else []:  # the same files for every process
        _check_images(where, part, section)
    with _telling(where), seeded(0):  # what a data set reads from its options when it makes an item
        dataset[0]


def _check_roots(where: str, section: Any) -> None:
    if not isinstance(section, Mapping):
        raise UserError(f'{where} must be a section, not {section!r}')
    if 'io_backend' in section:
        check_backend(where, section)
    is_lmdb = 'io_backend' in section and section['io_backend']['type'] == 'lmdb'
    roots = {key: section[key] for key in ('dataroot_gt', 'dataroot_lq') if section.get(key) is not None}
    for key, root in roots.items():
        if not isinstance(root, str) or not osp.isdir(root):
            raise UserError(f'{where}: {key}: there is no folder {root}')
        if is_lmdb and not root.endswith('.lmdb'):
            raise UserError(f'{where}: {key}: {root} does not end in .lmdb, but io_backend is lmdb')
        if is_lmdb and not osp.isfile(osp.join(root, 'meta_info.txt')):
            raise UserError(f'{where}: {key}: the LMDB {root} has no meta_info.txt')


def _check_images(where: str, dataset: Dataset, section: dict[str, Any]) -> None:
    """Every image can be read, both of a pair fit, and none is smaller than the training crop."""
    scale = dataset.opt.get('scale', 1)  # type: ignore[attr-defined]
    crop = section.get('gt_size') if section['phase'] == 'train' else None
    for name, sizes in _sizes(dataset):
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


def _sizes(dataset: Any) -> Iterator[tuple[str, dict[str, Size]]]:
    """Yield (name, width and height of 'gt' and 'lq') of every item of a data set that lists ``paths``."""
    paths = getattr(dataset, 'paths', [])
    opt = dataset.opt
    if (opt.get('io_backend') or {}).get('type') == 'lmdb':
        meta = {key: _lmdb_sizes(opt[f'dataroot_{key}']) for key in ('gt', 'lq') if opt.get(f'dataroot_{key}')}
        for item in paths:
            name = item['gt_path'] if isinstance(item, dict) else item
            yield name, {key: sizes[name] for key, sizes in meta.items() if name in sizes}
        return
    single = 'gt' if opt.get('dataroot_gt') else 'lq'
    for item in paths:
        files = {key: item[f'{key}_path'] for key in ('gt', 'lq')} if isinstance(item, dict) else {single: item}
        yield next(iter(files.values())), {key: _image_size(file) for key, file in files.items()}


def _lmdb_sizes(root: str) -> dict[str, Size]:
    sizes = {}
    with open(osp.join(root, 'meta_info.txt')) as file:
        for line in file:
            match = re.match(r'([^.]+)\.\S+ \((\d+),(\d+),\d+\)', line)
            if match is None:
                raise UserError(f'{root}/meta_info.txt: cannot read the line {line.strip()!r}')
            sizes[match[1]] = int(match[3]), int(match[2])
    try:
        with lmdb.open(root, readonly=True, lock=False) as environment, environment.begin(buffers=True) as transaction:
            lost = next((key for key in sizes if transaction.get(key.encode()) is None), None)
    except lmdb.Error as error:
        raise UserError(f'cannot open the LMDB {root}: {error}') from error
    if lost is not None:
        raise UserError(f"{root}/meta_info.txt names '{lost}', which the LMDB does not hold")
    return sizes


def _image_size(path: str) -> Size:
    """Return width and height from the header, after a look whether the file has its end."""
    try:
        with Image.open(path) as image:
            ends = {'PNG': b'IEND', 'JPEG': b'\xff\xd9'}
            with open(path, 'rb') as file:
                file.seek(max(osp.getsize(path) - 64, 0))
                whole = ends.get(image.format or '', b'') in file.read()
            if not whole:  # a trailer can follow the end: decode
                image.load()
            # orientation as cv2 applies it
            turned = image.getexif().get(0x0112, 1) >= 5
            return (image.height, image.width) if turned else image.size
    except Exception as error:
        raise UserError(f'cannot read the image {path}: unknown format, damaged or truncated') from error


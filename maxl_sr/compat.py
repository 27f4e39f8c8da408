"""What BasicSR 1.4.2 needs on today's torch and torchvision and on machines without a GPU.

Imported before anything else of the package. Every patch tests for the fault first, so that a BasicSR in which it is
mended is left as it is: by the error itself, or by the call in its source that causes it.
"""

import atexit
import functools
import importlib
import importlib.util
import inspect
import os
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import lmdb
import torch

from maxl_sr.errors import UserError
from maxl_sr.utils.distributed import agreed_store, leave
from maxl_sr.utils.lmdb_file import check_whole


class _Later(types.ModuleType):
    """Stands in for a module, which is imported when something of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):  # inspect asks every module for its file
            raise AttributeError(name)
        self.leave()
        return getattr(importlib.import_module(self.__name__), name)

    def leave(self) -> None:
        """Make way for the module itself."""
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]


@contextmanager
def _deferred(name: str, function: str) -> Iterator[None]:
    """Let what is imported here take this function of that module; the module is imported when it is called."""
    if name in sys.modules:
        yield
        return
    later = sys.modules[name] = _Later(name)

    def call(*args: Any, **kwargs: Any) -> Any:
        later.leave()
        return getattr(importlib.import_module(name), function)(*args, **kwargs)

    setattr(later, function, call)
    try:
        yield
    finally:
        later.leave()


def _shim_distutils() -> None:
    """``basicsr.archs.arch_util`` imports distutils, which Python 3.12 removed; setuptools brings its own."""
    if importlib.util.find_spec('distutils') is None:
        import setuptools  # noqa: F401


def _shim_functional_tensor() -> None:
    """``basicsr.data.degradations`` imports a private torchvision module that 0.17 removed; it needs one function."""
    name = 'torchvision.transforms.functional_tensor'
    if importlib.util.find_spec(name) is not None:
        return
    from torchvision.transforms.functional import rgb_to_grayscale
    module = types.ModuleType(name)
    module.rgb_to_grayscale = rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules[name] = module


# A second and more of processor time: torch's compiler, and statistics, each for one function that is seldom called
with _deferred('torch._dynamo.utils', 'is_compile_supported'):
    import torchvision.ops  # noqa: F401
_shim_distutils()
_shim_functional_tensor()
with _deferred('scipy.stats', 'multivariate_normal'):
    import basicsr.data.degradations  # noqa: F401

import basicsr.models.base_model as base_model  # noqa: E402
import basicsr.train as basicsr_train  # noqa: E402
import basicsr.utils.dist_util as dist_util  # noqa: E402
import basicsr.utils.file_client as file_client  # noqa: E402
import basicsr.utils.options as basicsr_options  # noqa: E402


def _calls(function: Callable[..., Any], text: str) -> bool:
    """Whether the source of `function` still contains the call that fails."""
    return text in inspect.getsource(inspect.unwrap(function))


@contextmanager
def _replaced(holder: Any, name: str, value: Any) -> Iterator[None]:
    """Put `value` in place of what a module or class has under this name, for a while."""
    original = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        setattr(holder, name, original)


@contextmanager
def _cpu_instead_of_cuda() -> Iterator[None]:
    """Let code that names the current CUDA device run without one."""
    def load(*args: Any, **kwargs: Any) -> Any:
        return torch_load(*args, **{**kwargs, 'map_location': 'cpu'})

    torch_load = torch.load
    with _replaced(torch.cuda, 'current_device', lambda: 0), _replaced(torch, 'load', load):
        yield


@contextmanager
def without_compiler() -> Iterator[None]:
    """Let optimizers be made, as for a look at their options, without torch's compiler.

    torch loads it, a second of processor time, to keep the groups of an optimizer out of what is compiled.
    """
    optimizer = torch.optim.Optimizer
    plain = getattr(optimizer.add_param_group, '__wrapped__', optimizer.add_param_group)
    with _replaced(optimizer, 'add_param_group', plain):
        yield


def _patch_resume() -> None:
    """``load_resume_state`` moves the state to ``torch.cuda.current_device()``, which fails without a GPU."""
    original: Callable[[dict[str, Any]], dict[str, Any] | None] = basicsr_train.load_resume_state
    if not _calls(original, 'torch.cuda.current_device()'):
        return

    @functools.wraps(original)
    def load_resume_state(opt: dict[str, Any]) -> dict[str, Any] | None:
        if torch.cuda.is_available():
            return original(opt)
        with _cpu_instead_of_cuda():
            return original(opt)

    basicsr_train.load_resume_state = load_resume_state


def _patch_leaving() -> None:
    """Nothing leaves the process group, see :func:`leave`."""
    original = dist_util.init_dist
    if 'destroy_process_group' in inspect.getsource(basicsr_train):
        return

    @functools.wraps(original)
    def init_dist(*args: Any, **kwargs: Any) -> None:
        original(*args, **kwargs)
        atexit.register(leave)

    basicsr_options.init_dist = init_dist


def _patch_init_dist() -> None:
    """``--launcher pytorch`` takes the rank modulo the number of GPUs and uses nccl: both need a GPU.

    Nor does it come up again after torchrun has restarted it on several nodes, see :func:`agreed_store`.
    """
    original = dist_util._init_dist_pytorch
    if not _calls(original, 'rank % num_gpus'):
        return

    @functools.wraps(original)
    def _init_dist_pytorch(backend: str, **kwargs: Any) -> None:
        rank = int(os.environ['RANK'])
        if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') == 'True':
            world_size = int(os.environ['WORLD_SIZE'])
            kwargs |= dict(store=agreed_store(rank, world_size), rank=rank, world_size=world_size)
        if torch.cuda.is_available():
            original(backend, **kwargs)
        else:
            torch.distributed.init_process_group(backend='gloo', **kwargs)

    dist_util._init_dist_pytorch = _init_dist_pytorch


def _patch_model_to_device() -> None:
    """``DistributedDataParallel`` is given ``device_ids`` of CUDA, which it refuses for a network on the CPU."""
    original: Callable[..., torch.nn.Module] = base_model.BaseModel.model_to_device
    if not _calls(original, 'device_ids=[torch.cuda.current_device()]'):
        return

    @functools.wraps(original)
    def model_to_device(self: base_model.BaseModel, net: torch.nn.Module) -> torch.nn.Module:
        if not self.opt['dist'] or torch.cuda.is_available():
            return original(self, net)
        return torch.nn.parallel.DistributedDataParallel(
            net.to(self.device), find_unused_parameters=self.opt.get('find_unused_parameters', False))

    base_model.BaseModel.model_to_device = model_to_device


def _patch_lmdb() -> None:
    """``LmdbBackend`` opens an LMDB once a data set, but lmdb refuses to open one twice in a process and its forks."""
    original = file_client.LmdbBackend.__init__
    if not _calls(original, 'self._client[client] = lmdb.open(path'):
        return
    opened: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()
    open_lmdb = lmdb.open

    def open_once(path: str, **kwargs: Any) -> Any:
        key = os.path.realpath(path)
        environment = opened.get(key)
        if environment is None:
            try:
                environment = open_lmdb(path, **kwargs)
            except lmdb.Error as error:
                raise UserError(f'cannot open the LMDB {path}: {error}') from error
            check_whole(environment, path)
            opened[key] = environment
        return environment

    @functools.wraps(original)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        with _replaced(lmdb, 'open', open_once):
            original(self, *args, **kwargs)

    file_client.LmdbBackend.__init__ = __init__


_patch_lmdb()
_patch_resume()
_patch_init_dist()
_patch_leaving()
_patch_model_to_device()

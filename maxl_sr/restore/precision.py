"""The number format in which a network computes, chosen by what the device computes fastest."""

import copy
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from maxl_sr.errors import UserError
from maxl_sr.meta import BoundNet
from maxl_sr.utils.machine import memory_format
from maxl_sr.utils.memory import is_out_of_memory

Precision = Literal['auto', 'float32', 'bfloat16', 'float16']
PRECISIONS: tuple[str, ...] = get_args(Precision)
LOWER = {'bfloat16': torch.bfloat16, 'float16': torch.float16}
LEAST_SIDE = 128  # of the image that is timed
SIDE = {'cpu': LEAST_SIDE, 'cuda': 1024}  # a GPU is not busy with a small one
RUNS = 3  # the fastest counts
GAIN = 0.9  # part of the time of float32 that a lower precision may take at most
FARTHEST = 2 / 255  # from the image of float32, at any pixel: float16 may overflow, an exotic layer may not exist


def check_precision(precision: object) -> None:
    """Refuse what is none of :data:`PRECISIONS`.

    Raises:
        UserError: The message lists them.
    """
    if precision not in PRECISIONS:
        raise UserError(f'precision must be one of {", ".join(PRECISIONS)}, not {precision!r}')


def computing(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return the context in which networks compute in a precision other than 'auto'; weights stay in float32."""
    if precision == 'float32':
        return nullcontext()
    # Without the cache: it holds copies of weights that the steps change
    return torch.autocast(device.type, LOWER[precision], cache_enabled=False)


def _seconds(run: Callable[[], Tensor], device: torch.device) -> float:
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run()
        if device.type == 'cuda':
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times)


def _candidates(device: torch.device) -> list[str]:
    if device.type == 'cuda':
        return ['float16', *(['bfloat16'] if torch.cuda.is_bf16_supported(including_emulation=False) else [])]
    # float16 is never faster there; bfloat16 is where the processor has its instructions, which the trial shows
    return ['bfloat16'] if device.type == 'cpu' and torch.ops.mkldnn._is_mkldnn_bf16_supported() else []


@torch.no_grad()
def fastest(net: nn.Module, device: torch.device, multiple: int = 1) -> str:
    """Return the precision in which `net` is fastest on the device, by trying; 'float32' unless another is faster.

    Args:
        net: A network with heads, on the device.
        device: The device.
        multiple: What the sides of its images are multiples of.
    """
    candidates = _candidates(device)
    if not candidates:
        return 'float32'
    net = copy.deepcopy(net)
    side = SIDE.get(device.type, LEAST_SIDE)

    def restored(precision: str) -> Tensor:
        with computing(device, precision):
            return BoundNet(net, x).restored()

    while True:
        x = torch.rand(1, 3, *2 * [-(-side // multiple) * multiple], generator=torch.Generator().manual_seed(0))
        x = x.to(device).contiguous(memory_format=memory_format(device))
        try:
            exact = restored('float32')
            break
        except Exception as error:
            if not is_out_of_memory(error) or side <= LEAST_SIDE:
                return 'float32'  # it takes images of some sizes only; of an image of the user's its error is told
            side //= 2
    least, best = GAIN * _seconds(partial(restored, 'float32'), device), 'float32'
    for precision in candidates:
        try:
            if not bool(((restored(precision) - exact).abs() <= FARTHEST).all()):
                continue
            seconds = _seconds(partial(restored, precision), device)
        except (RuntimeError, NotImplementedError):  # an operation that does not exist in it
            continue
        if seconds < least:
            least, best = seconds, precision
    return best

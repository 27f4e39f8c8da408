"""The arithmetic that an algorithm needs: what a variant does beyond it is waste."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from variants import LR, Problem, plain, transfer

from maxl_sr.meta import maxl_loss


class _Count(TorchDispatchMode):
    """Adds up operations by the formulas of torch's FlopCounterMode, which itself does not take ``autograd.grad``."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


@contextmanager
def _counted(into: dict[str, int], name: str) -> Iterator[None]:
    with _Count() as count:
        yield
    into[name] = count.total


def floor_flops(problem: Problem) -> dict[str, int]:
    """Floating-point operations of the convolutions: 'plain step', and the least for 'MTL' and 'MAXL'.

    MTL: features and mask once, K steps with their second-order graph kept. MAXL: the gradient of L_pri + L_aux, that
    of the outer loss, the tangents along v (without the forward pass that they repeat), the mask and its gradient.
    """
    flops: dict[str, int] = {}
    with _counted(flops, 'plain step'):
        plain(problem)
    with _counted(flops, 'MTL'):
        transfer(problem, problem.mask_net(problem.y), meta_gradient='stored').backward()
    with _counted(flops, 'MAXL'):
        maxl_loss(problem.net, problem.objective, F.l1_loss, problem.y, problem.x, problem.mask_net(problem.y),
                  lr=LR).backward()
    with _counted(flops, 'forward'), torch.no_grad():
        problem.both(problem.y)
    flops['MAXL'] -= flops.pop('forward')
    return flops

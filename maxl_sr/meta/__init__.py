"""Meta-learning and adaptation as pure functions on tensors and modules; imports torch and nothing else.

`maxl` is Algorithm 1 of arXiv 2207.02066, `transfer` Algorithm 2, `adapt` Algorithm 3 and with it the inner loop of
Algorithm 2. `task` is the problem that one image poses, `objective` its self-supervised loss, `space` what adapts,
`rates` are the step sizes, `guard` decides how far to go, `tiled` makes room for large images; `replay` is the
meta-gradient at flat memory, `samples` the two ways through a batch.
"""

from maxl_sr.meta.adapt import adapt, inner_loop
from maxl_sr.meta.bound import BoundNet
from maxl_sr.meta.guard import Guard
from maxl_sr.meta.maxl import maxl_loss, primary_and_auxiliary_loss
from maxl_sr.meta.objective import Objective
from maxl_sr.meta.rates import InnerRates, fixed_rates
from maxl_sr.meta.replay import replay
from maxl_sr.meta.space import adaptable_weights, realised
from maxl_sr.meta.task import Task
from maxl_sr.meta.tiled import Tiling
from maxl_sr.meta.transfer import stored_bytes, transfer_loss

__all__ = [
    'BoundNet', 'Guard', 'InnerRates', 'Objective', 'Task', 'Tiling', 'adapt', 'adaptable_weights', 'fixed_rates',
    'inner_loop', 'maxl_loss', 'primary_and_auxiliary_loss', 'realised', 'replay', 'stored_bytes', 'transfer_loss'
]

"""Meta-learning and adaptation as pure functions on tensors and modules; imports torch alone.

`maxl` is Algorithm 1 of arXiv 2207.02066, `transfer` Algorithm 2, `adapt` Algorithm 3 and with it the inner loop of
Algorithm 2. `network` is what is asked of networks, `task` the problem that one image poses, `objective` its
self-supervised loss, `space` what adapts, `rates` are the step sizes, `guard` decides how far to go, `tiled` makes room
for large images; `replay` is the meta-gradient at flat memory, `samples` the two ways through a batch, `autocast` how
derivatives go with it.
"""

from maxl_sr.meta.adapt import adapt, inner_loop
from maxl_sr.meta.bound import BoundNet
from maxl_sr.meta.guard import Guard
from maxl_sr.meta.maxl import maxl_loss, primary_and_auxiliary_loss
from maxl_sr.meta.network import MultiTaskNetwork, Traits, check_multi_task, is_multi_task
from maxl_sr.meta.objective import Objective, same_size
from maxl_sr.meta.rates import InnerRates, fixed_rates
from maxl_sr.meta.replay import replay
from maxl_sr.meta.space import adaptable_weights, realised
from maxl_sr.meta.task import Task
from maxl_sr.meta.tiled import Tiling
from maxl_sr.meta.transfer import stored_bytes, transfer_loss

__all__ = [
    'BoundNet', 'Guard', 'InnerRates', 'MultiTaskNetwork', 'Objective', 'Task', 'Tiling', 'Traits', 'adapt',
    'adaptable_weights', 'check_multi_task', 'fixed_rates', 'inner_loop', 'is_multi_task', 'maxl_loss',
    'primary_and_auxiliary_loss', 'realised', 'replay', 'same_size', 'stored_bytes', 'transfer_loss'
]

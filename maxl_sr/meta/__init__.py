"""The algorithms as pure functions on tensors and modules; imports torch and nothing else.

`maxl` is Algorithm 1 of arXiv 2207.02066, `transfer` Algorithm 2, `adapt` Algorithm 3 and with it the inner loop of
Algorithm 2.
"""

from maxl_sr.meta.adapt import Task, adapt, adaptable_weights, inner_loop
from maxl_sr.meta.bound import BoundNet
from maxl_sr.meta.maxl import maxl_loss, primary_and_auxiliary_loss
from maxl_sr.meta.objective import Objective
from maxl_sr.meta.transfer import transfer_loss

__all__ = [
    'BoundNet', 'Objective', 'Task', 'adapt', 'adaptable_weights', 'inner_loop', 'maxl_loss',
    'primary_and_auxiliary_loss', 'transfer_loss'
]

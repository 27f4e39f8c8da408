"""Every inner objective has its naive reference, with which tests/meta compares the meta-gradients."""

from basicsr.utils.registry import LOSS_REGISTRY

from maxl_sr.losses.auto_loss import AutoObjective
from maxl_sr.meta import Objective
from tests.losses.references import NAIVE


def test_every_objective_has_one():
    objectives = {loss for _, loss in LOSS_REGISTRY
                  if loss.__module__.startswith('maxl_sr.') and issubclass(loss, Objective)}
    assert objectives - {AutoObjective} == set(NAIVE)  # which is a choice among them

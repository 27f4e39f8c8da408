"""The naive reference of every inner objective, by its class; each is written out beside the tests of its objective."""

from collections.abc import Callable

from torch import Tensor

from maxl_sr.losses.blind_spot_loss import BlindSpotLoss
from maxl_sr.losses.left_noise_loss import LeftNoiseLoss
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.losses.neighbor2neighbor_loss import Neighbor2NeighborLoss
from maxl_sr.losses.noise_transplant_loss import NoiseTransplantLoss
from maxl_sr.losses.photograph_noise_loss import PhotographNoiseLoss
from maxl_sr.losses.recorruption_loss import RecorruptionLoss
from maxl_sr.losses.redegradation_loss import RedegradationLoss
from maxl_sr.losses.sum_loss import SumObjective
from maxl_sr.losses.sure_loss import SURELoss
from tests.losses import (
    test_blind_spot_loss,
    test_left_noise_loss,
    test_losses,
    test_noise_transplant_loss,
    test_photograph_noise_loss,
    test_redegradation_loss,
    test_self_supervised_losses,
    test_sure_loss,
)
from tests.losses.whole import Whole


def naive_sum(loss: SumObjective, net: Whole, y: Tensor, mask: Tensor) -> Tensor:
    """The sum of the references of its parts."""
    return sum(NAIVE[type(part)](part, net, y, mask) for part in loss.objectives)


NAIVE: dict[type, Callable[..., Tensor]] = {
    BlindSpotLoss: test_blind_spot_loss.naive,
    LeftNoiseLoss: test_left_noise_loss.naive,
    MaskedReconstructionLoss: test_losses.naive,
    Neighbor2NeighborLoss: test_self_supervised_losses.naive_neighbors,
    NoiseTransplantLoss: test_noise_transplant_loss.naive,
    PhotographNoiseLoss: test_photograph_noise_loss.naive,
    RecorruptionLoss: test_self_supervised_losses.naive_recorruption,
    RedegradationLoss: test_redegradation_loss.naive,
    SURELoss: test_sure_loss.naive,
    SumObjective: naive_sum,
}

"""The sum of losses."""

import pytest
import torch
from basicsr.losses import build_loss

from maxl_sr.errors import UserError

PRED = torch.tensor([[[[1., 2.], [3., 4.]]]])
TARGET = torch.tensor([[[[0., 2.], [5., 1.]]]])


def test_the_sum_by_hand():
    gradient = {'type': 'TwoDirectionGradientLoss', 'loss_weight': 0.5}
    loss = build_loss({'type': 'SumLoss', 'losses': [{'type': 'L1Loss'}, gradient]})
    # PRED − TARGET is 1 0 / −2 3: mean absolute value 1.5, its differences to the right 1 and 5, downwards 3 and 3
    assert loss(PRED, TARGET).item() == pytest.approx(1.5 + 0.5 * (3 + 3))


@pytest.mark.parametrize('losses', [[], 'L1Loss', {'type': 'L1Loss'}, None])
def test_it_needs_a_list(losses):
    with pytest.raises(ValueError, match='losses must be a list of sections'):
        build_loss({'type': 'SumLoss', 'losses': losses})


@pytest.mark.parametrize('section, message', [
    ({'type': 'L3Loss'}, r"losses\[1\]: type: unknown name 'L3Loss'"),
    ({'type': 'L1Loss', 'weight': 1}, r"losses\[1\]: unknown key 'weight'"),
    ({'type': 'BlindSpotLoss'}, r'losses\[1\]: BlindSpotLoss is an inner objective'),
    ({'type': 'GANLoss', 'gan_type': 'vanilla'}, r'losses\[1\]: GANLoss is no loss of two images'),
])
def test_a_wrong_part_is_named(section, message):
    with pytest.raises(UserError, match=message):
        build_loss({'type': 'SumLoss', 'losses': [{'type': 'L1Loss'}, section]})

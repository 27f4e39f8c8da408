"""The contract of networks: what holds where one says nothing, and what is refused."""

import pytest
import torch
from torch import nn

from maxl_sr import Restorer
from maxl_sr.archs.auxiliary_head_arch import WithAuxiliaryHead
from maxl_sr.archs.multitask_arch import MultiTaskNet, ParallelMultiTaskNet
from maxl_sr.errors import UserError
from maxl_sr.losses.noise_transplant_loss import NoiseTransplantLoss
from maxl_sr.meta import Traits, adaptable_weights, is_multi_task, same_size


class Plain(nn.Module):
    """A network of a user's that has the three methods and says nothing else."""

    def __init__(self):
        super().__init__()
        self.body, self.primary_head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
        self.aux_head = nn.Conv2d(6, 3, 3, padding=1)

    def forward_features(self, x):
        return self.body(x)

    def forward_primary(self, features, x):
        return x + self.primary_head(features)

    def forward_heads(self, features, x):
        restored = self.forward_primary(features, x)
        return restored, self.aux_head(torch.cat([restored, restored - x], 1))


@pytest.mark.parametrize('kind', [MultiTaskNet, ParallelMultiTaskNet, WithAuxiliaryHead, Plain])
def test_who_has_heads(kind):
    assert is_multi_task(kind)


def test_who_has_none():
    net = nn.Conv2d(3, 3, 3)
    assert not is_multi_task(net) and not is_multi_task(nn.Conv2d)
    with pytest.raises(UserError, match='a Conv2d has no heads to adapt'):
        Restorer(net)


def test_what_holds_where_nothing_is_said():
    net = Plain()
    traits = Traits(net)
    assert (traits.scale, traits.halo, traits.multiple) == (1, None, 1)
    assert {name.partition('.')[0] for name in adaptable_weights(net, 'heads')} == {'primary_head', 'aux_head'}
    image = torch.rand(37, 41, 3).numpy()
    assert Restorer(net).run(image, tile=16).image.shape == image.shape  # without a halo: as a whole


def test_what_is_said_holds():
    net = Plain()
    net.adaptable = ('body.', )
    assert set(adaptable_weights(net, 'heads')) == {'body.weight', 'body.bias'}
    net.scale, net.halo, net.multiple = 2, 6, 4
    assert (Traits(net).scale, Traits(net).halo, Traits(net).multiple) == (2, 6, 4)


@pytest.mark.parametrize('name, value', [('scale', 0), ('scale', 2.0), ('halo', True), ('multiple', 'four'),
                                         ('adaptable', 'primary_head.'), ('adaptable', (1, ))])
def test_the_wrong_kind_is_named(name, value):
    net = Plain()
    setattr(net, name, value)
    with pytest.raises(UserError, match=f'Plain: {name} must be'):
        getattr(Traits(net), name)


class Silent(nn.Module):
    """An objective that says nothing of sizes."""

    def prepare(self, net, y):
        return (y, )

    def loss(self, heads, prepared, mask):
        return prepared[0].mean()


def test_objectives_that_compare_images_of_one_size():
    assert same_size(NoiseTransplantLoss())
    assert not same_size(Silent())

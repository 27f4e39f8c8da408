"""The kinds of noise."""

import numpy as np
import pytest

from maxl_sr.data.noise import add_noise
from tests.data.images import QUIET, grey, only, rng


def test_gaussian_has_the_deviation_asked_for():
    noise = add_noise(grey(), only(gaussian=(25, 25)), rng()) - 0.5
    assert noise.std() == pytest.approx(25 / 255, rel=0.01)
    assert abs(noise.mean()) < 0.001


def test_deviation_is_drawn_from_the_whole_range():
    drawn = [(add_noise(grey(size=60), only(gaussian=(5, 50)), rng(seed)) - 0.5).std() * 255 for seed in range(60)]
    assert 4.5 < min(drawn) < 10 and 45 < max(drawn) < 52
    assert np.mean(drawn) == pytest.approx(27.5, rel=0.15)


@pytest.mark.parametrize('value', [0.2, 0.4])
def test_speckle_is_proportional_to_the_image(value):
    noise = add_noise(grey(value), only(speckle=(50, 50)), rng()) - value
    assert noise.std() == pytest.approx(value * 50 / 255, rel=0.01)


def test_speckle_leaves_black_alone():
    assert not add_noise(grey(0), only(speckle=(50, 50)), rng()).any()


def test_salt_and_pepper_have_the_amount_and_share_asked_for():
    noisy = add_noise(grey(), only(salt_pepper=(0.2, 0.2), salt_share=(0.75, 0.75)), rng())
    assert set(np.unique(noisy)) == {0, 0.5, 1}
    assert (noisy != 0.5).mean() == pytest.approx(0.2, rel=0.03)
    assert (noisy == 1).mean() == pytest.approx(0.15, rel=0.03)


def test_null_leaves_every_kind_out():
    assert (add_noise(grey(), QUIET, rng()) == 0.5).all()


def test_order_of_the_kinds_is_random():
    # Speckle after salt and pepper spreads the salt; before it the salt is exactly 1
    kinds = only(speckle=(50, 50), salt_pepper=(0.5, 0.5), salt_share=(1, 1))
    last = sum((add_noise(grey(size=20), kinds, rng(seed)) == 1).mean() > 0.45 for seed in range(200))
    assert 70 < last < 130


def test_noise_is_clipped_and_stays_float32():
    noisy = add_noise(grey(0.9), only(gaussian=(200, 200)), rng())
    assert noisy.dtype == np.float32 and noisy.min() == 0 and noisy.max() == 1

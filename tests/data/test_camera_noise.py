"""Simulated camera noise, and variations of real pairs."""

import numpy as np
import pytest

from maxl_sr.data.camera_noise import CameraNoise, add_camera_noise
from maxl_sr.data.noise import Noise, add_noise
from maxl_sr.data.pair_augmentation import PairAugmentation, augment_pair


def rng(seed=0):
    return np.random.default_rng(seed)


def grey(value, height=128, width=128):
    return np.full((height, width, 3), value, np.float32)


def noise_of(image, noise, seed=0):
    return add_camera_noise(image, noise, rng(seed)) - image


def test_the_image_stays_where_there_is_hardly_any_noise():
    image = np.linspace(0.2, 0.8, 33 * 46 * 3, dtype=np.float32).reshape(33, 46, 3)
    noise = CameraNoise(shot=(1e-9, 1e-9), read=(0.02, 0.02), blur=(0, 0))
    assert np.abs(noise_of(image, noise)).max() < 2e-3


def test_the_green_noise_of_a_flat_image_has_the_strength_of_the_sensor():
    """At a pixel where the mosaic has green, nothing is mixed by demosaicing; the matrix mixes the colours later."""
    shot, value = 4e-4, 0.5
    noise = CameraNoise(shot=(shot, shot), read=(1e-3, 1e-3), blur=(0, 0))
    linear = value ** 2.2
    slope = value / (2.2 * linear)  # of the gamma curve
    sensor = slope * np.sqrt(shot * linear)
    deviations = [noise_of(grey(value), noise, seed).std((0, 1)) for seed in range(6)]
    blue, green, red = np.mean(deviations, 0)
    assert 0.6 * sensor < green < 2 * sensor
    assert blue > green and red > green  # their white balance makes more of their noise


def test_noise_depends_on_intensity_and_is_correlated():
    noise = CameraNoise(shot=(1e-3, 1e-3), read=(0.01, 0.01), blur=(0, 0))
    linear = [noise_of(grey(value), noise).std() * value ** 1.2 for value in (0.2, 0.6)]  # before the gamma curve
    assert linear[1] / linear[0] == pytest.approx((0.6 / 0.2) ** 1.1, rel=0.15)  # the root of the linear intensities
    horizontally = [np.mean(n[:, 1:] * n[:, :-1]) / np.mean(n * n) for n in
                    (noise_of(grey(0.5), CameraNoise(shot=(1e-3, 1e-3), blur=(s, s))) for s in (0.0, 0.9))]
    assert 0.2 < horizontally[0] < horizontally[1]


def test_there_is_no_bias_to_speak_of():
    assert abs(noise_of(grey(0.3), CameraNoise(shot=(1e-3, 1e-3))).mean()) < 5e-3


def test_it_is_fixed_by_the_generator():
    image = grey(0.5, 17, 5)
    first, again, other = (noise_of(image, CameraNoise(), seed) for seed in (1, 1, 2))
    assert first.shape == image.shape and first.dtype == np.float32
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_noise_of_a_pair_is_scaled():
    clean = rng().random((20, 20, 3), dtype=np.float32) * 0.2 + 0.4
    noisy = clean + 0.05 * rng(1).standard_normal(clean.shape).astype(np.float32)
    lq, gt = augment_pair(noisy, clean, 20, PairAugmentation(noise_scale=(2, 2)), rng())
    np.testing.assert_array_equal(gt, clean)
    np.testing.assert_allclose(lq - gt, 2 * (noisy - clean), atol=1e-6)


def test_both_images_are_resized_and_their_colours_permuted_alike():
    image = rng().random((40, 30, 3), dtype=np.float32)
    setting = PairAugmentation(resize=(0.5, 1.5), shuffle_channels=True)
    sums = set()
    for seed in range(12):
        lq, gt = augment_pair(image, image, 15, setting, rng(seed))
        assert lq.shape == (15, 15, 3)
        np.testing.assert_array_equal(lq, gt)
        sums.add(tuple(np.argsort(gt.mean((0, 1)))))
    assert len(sums) > 1
    finer = augment_pair(image, image, 15, PairAugmentation(resize=(1.5, 1.5)), rng())[1]
    assert np.abs(np.diff(finer, axis=0)).mean() < np.abs(np.diff(image, axis=0)).mean()


def test_noise_along_a_line_keeps_its_strength_and_is_correlated():
    image = grey(0.5, 200, 200)
    plain, smeared = (add_noise(image, Noise(gaussian=(20, 20), speckle=None, salt_pepper=None, line=line), rng())
                      - image for line in (None, (6, 6)))
    assert smeared.std() == pytest.approx(plain.std(), rel=0.1)
    across, along = (abs(np.mean(np.take(smeared, range(1, 200), axis) * np.take(smeared, range(199), axis))
                         / np.mean(smeared ** 2)) for axis in (0, 1))
    assert max(across, along) > 0.3


def test_smooth_noise_has_the_correlation_asked_for():
    image, sigma = grey(0.5, 300, 300), 0.8
    noise = add_noise(image, Noise(gaussian=(20, 20), speckle=None, salt_pepper=None, smooth=(sigma, sigma)),
                      rng()) - image
    assert noise.std() == pytest.approx(20 / 255, rel=0.05)
    for axis in (0, 1):
        one, other = np.take(noise, range(1, 300), axis), np.take(noise, range(299), axis)
        assert np.mean(one * other) / noise.var() == pytest.approx(np.exp(-1 / (4 * sigma ** 2)), abs=0.03)


def test_poisson_noise_has_the_variance_of_counts():
    setting = Noise(gaussian=None, speckle=None, salt_pepper=None, poisson=(400, 400))
    for value in (0.2, 0.6):
        noise = add_noise(grey(value), setting, rng()) - value
        assert noise.var() == pytest.approx(value / 400, rel=0.05) and abs(noise.mean()) < 1e-3

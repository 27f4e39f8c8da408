"""The kinds of noise that photographs have beside Gaussian and speckle: strength and correlation of each."""

import cv2
import numpy as np
import pytest

from maxl_sr.data.degradation import Degradation, compress, degrade, reduce_noise
from maxl_sr.data.noise import Noise, add_noise
from maxl_sr.data.pair_augmentation import PairAugmentation, augment_pair
from maxl_sr.data.synthetic_noise_dataset import SyntheticNoiseDataset
from maxl_sr.errors import UserError
from maxl_sr.settings.section import parse
from tests.helpers import photograph

GREY = np.full((256, 256, 3), 0.5, np.float32)
NONE = dict(gaussian=None, speckle=None, salt_pepper=None)


def difference(seed=0, image=GREY, **kinds):
    noisy = add_noise(image, Noise(**{**NONE, **kinds}), np.random.default_rng(seed))
    assert noisy.dtype == np.float32 and noisy.shape == image.shape
    return (noisy - image) * 255


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def test_grey_noise_is_the_same_in_all_channels():
    noise = difference(gaussian=(20, 20), channels='grey')
    assert np.array_equal(noise[..., 0], noise[..., 1]) and np.array_equal(noise[..., 0], noise[..., 2])
    assert noise.std() == pytest.approx(20, rel=0.02)


def test_any_correlation_keeps_the_strength_of_every_channel():
    found = []
    for seed in range(12):
        noise = difference(seed, gaussian=(20, 20), channels='any')
        np.testing.assert_allclose(noise.std((0, 1)), 20, rtol=0.02)
        found.append(correlation(noise[..., 0], noise[..., 1]))
    assert max(found) > 0.5 and min(found) < -0.3  # of both signs, wide


def test_mixed_draws_each_way():
    kinds = set()
    for seed in range(20):
        noise = difference(seed, gaussian=(20, 20), channels='mixed')
        c = correlation(noise[..., 0], noise[..., 1])
        kinds.add('grey' if c > 0.999 else 'independent' if abs(c) < 0.02 else 'any')
    assert kinds == {'grey', 'independent', 'any'}


def test_correlated_photon_noise_has_the_variance_of_counts():
    for value in (0.25, 0.5):
        noise = difference(image=np.full_like(GREY, value), poisson=(400, 400), channels='grey')
        assert noise.std() == pytest.approx(255 * np.sqrt(value / 400), rel=0.02)


def test_grain_is_weak_in_blacks_and_whites():
    middle = difference(grain=(15, 15))
    dark = difference(image=np.full_like(GREY, 0.05), grain=(15, 15))
    assert middle.std() == pytest.approx(15, rel=0.03)
    assert dark.std() == pytest.approx(15 * 2 * np.sqrt(0.05 * 0.95), rel=0.1)
    assert np.ptp(middle - middle[..., :1]) < 1e-4
    assert correlation(middle[:, 1:, 0], middle[:, :-1, 0]) > 0.3


@pytest.mark.parametrize('kind, axis', [('rows', 1), ('columns', 0), ('banding', 1)])
def test_stripes_are_constant_along_themselves(kind, axis):
    noise = difference(**{kind: (8, 8)})
    assert np.abs(np.diff(noise, axis=axis)).max() < 1e-4
    values = np.concatenate([difference(seed, **{kind: (8, 8)}).mean(axis) for seed in range(30)])
    assert values.std() == pytest.approx(8, rel=0.1)
    neighbours = correlation(values[1:], values[:-1])
    assert neighbours > 0.9 if kind == 'banding' else abs(neighbours) < 0.05


def test_a_periodic_pattern_has_one_frequency():
    noise = difference(periodic=(10, 10))[..., 0]
    assert np.abs(noise).max() == pytest.approx(10, rel=0.02)
    spectrum = np.abs(np.fft.rfft2(noise * np.outer(np.hanning(256), np.hanning(256)))) ** 2
    peak = np.unravel_index(spectrum.argmax(), spectrum.shape)
    around = spectrum[[(peak[0] + i) % 256 for i in range(-3, 4)]][:, max(peak[1] - 3, 0):peak[1] + 4]
    assert around.sum() > 0.45 * spectrum.sum()


def test_enlarged_noise_keeps_its_strength_and_is_coarse():
    fine, coarse = difference(gaussian=(20, 20)), difference(gaussian=(20, 20), enlarge=(3, 3))
    assert coarse.std() == pytest.approx(20, rel=0.02)
    assert abs(correlation(fine[:, 1:], fine[:, :-1])) < 0.02 < 0.8 < correlation(coarse[:, 1:], coarse[:, :-1])


def test_so_many_kinds_are_drawn():
    both = [difference(seed, rows=(10, 10), columns=(10, 10), kinds=(1, 1)) for seed in range(20)]
    for noise in both:
        assert (np.abs(np.diff(noise, axis=0)).max() < 1e-4) != (np.abs(np.diff(noise, axis=1)).max() < 1e-4)
    assert len({bool(np.abs(np.diff(noise, axis=0)).max() < 1e-4) for noise in both}) == 2


def test_noise_reduction_leaves_a_residue_that_is_coarse_in_colour():
    clean = cv2.resize(photograph(1, 64, 64), (128, 128)).astype(np.float32) / 255
    noisy = add_noise(clean, Noise(**{**NONE, 'gaussian': (20, 20)}), np.random.default_rng(0))
    np.testing.assert_array_equal(reduce_noise(noisy, clean, 0.), noisy)
    residue = reduce_noise(noisy, clean, 1.) - clean
    assert residue.std() < 0.5 * (noisy - clean).std()
    colour = residue[..., 0] - residue[..., 1]
    assert correlation(colour[:, 1:], colour[:, :-1]) > 0.8


def test_compression_twice_is_another_grid():
    image = photograph(2, 96, 96).astype(np.float32) / 255
    once, twice = (compress(image, (30, 30), (n, n), np.random.default_rng(3)) for n in (1, 2))
    assert not np.array_equal(once, twice)
    again = compress(once, (30, 30), (1, 1), np.random.default_rng(3))
    # On the same grid a second compression finds hardly anything to take away, on another one it does
    assert np.abs(again - once).mean() < 0.3 * np.abs(twice - once).mean()


def test_quantisation_to_few_levels():
    ramp = np.repeat(np.linspace(0, 1, 256, dtype=np.float32)[None, :, None], 8, 0).repeat(3, 2)
    result = degrade(ramp, Degradation(levels=(5, 5)), None, 1, np.random.default_rng(0))
    assert len(np.unique(result)) == 5
    assert np.abs(result - ramp).max() <= 0.126


def dataset(pairs, **options):
    return SyntheticNoiseDataset({'name': 'x', 'phase': 'val', 'scale': 1, 'dataroot_gt': f'{pairs}/gt',
                                  'io_backend': {'type': 'disk'}, 'noise': {**NONE, 'gaussian': [25, 25]}, **options})


def test_grey_images_have_grey_noise_of_the_strength_asked_for(make_pairs):
    pairs = make_pairs(height=96, width=96)
    colour, grey = dataset(pairs)[0], dataset(pairs, grey=1)[0]
    for key in ('lq', 'gt'):
        assert (grey[key] == grey[key][:1]).all() and not (colour[key] == colour[key][:1]).all()
    assert ((grey['lq'] - grey['gt'])[0] * 255).std().item() == pytest.approx(25, rel=0.1)
    shares = [bool((item['gt'] == item['gt'][:1]).all())
              for item in (dataset(pairs, grey=0.5, seed=seed)[i] for seed in range(8) for i in range(4))]
    assert 8 < sum(shares) < 24


def test_light_changes_the_clean_image(make_pairs):
    pairs = make_pairs(height=96, width=96)
    plain, dark = dataset(pairs)[0], dataset(pairs, light=[0.5, 0.5])[0]
    np.testing.assert_allclose(dark['gt'], plain['gt'] * 0.5, atol=1e-6)


@pytest.mark.parametrize('options, message', [
    ({'grey': 2}, 'grey must be a number of at least 0 and at most 1, not 2'),
    ({'grey': True}, 'grey must be a number'),
    ({'light': 0.5}, 'light must be a range'),
    ({'light': [0, 1]}, 'light must be a range'),
    ({'light': [2, 1]}, 'light must be a range'),
    ({'noise': {'channels': 'gray'}}, 'channels must be one of independent, grey, any, mixed'),
    ({'noise': {'enlarge': [0.5, 2]}}, 'enlarge must be at least 1'),
    ({'noise': {'kinds': [0, 2]}}, 'kinds must be at least 1'),
])
def test_wrong_options_are_refused(options, message, make_pairs):
    with pytest.raises(UserError, match=message):
        dataset(make_pairs(), **options)


def test_grey_copies_and_compressed_pairs():
    rng = np.random.default_rng(0)
    clean = photograph(4, 64, 64).astype(np.float32) / 255
    noisy = (clean + rng.normal(0, 0.05, clean.shape)).clip(0, 1).astype(np.float32)
    grey = augment_pair(noisy, clean, 48, parse(PairAugmentation, {'grey': 1}, 'x'), rng)
    for image in grey:
        assert image.shape == (48, 48, 3) and np.ptp(image - image[..., :1]) == 0
    options = {'jpeg': [30, 30], 'jpeg_share': 1}
    crop = np.random.default_rng(7)
    compressed, same = augment_pair(noisy, clean, 64, parse(PairAugmentation, options, 'x'), crop)
    np.testing.assert_array_equal(same, clean)
    assert (compressed - clean).std() < (noisy - clean).std()  # it smooths, in the colours above all
    assert 0 < np.abs(compressed - noisy).mean() < 0.05

"""Registration and light of pairs, against shifts and lights that are known."""

import json

import cv2
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from maxl_sr.prepare import outputs
from maxl_sr.prepare.light import match_light
from maxl_sr.prepare.registration import Registration, Unregistrable, register
from tests.helpers import slow
from tests.prepare.layouts import fails, names, read, run, save

FIELDS = {'shift': [[0.7, 0, 0], [-0.4, 0, 0]], 'turn and zoom': [[0.3, 0.4, -0.3], [0.2, 0.25, 0.35]],
          'large': [[6.3, 0.1, 0], [-3.6, 0, 0.2]], 'none': [[0, 0, 0], [0, 0, 0]]}


def scene(height=384, width=512, seed=0):
    """Texture of several scales, in the range of 8 bits; smooth enough to be interpolated."""
    rng = np.random.default_rng(seed)
    total = np.full((height, width, 3), 128.)
    for sigma, strength in ((1.5, 25), (6, 20), (30, 25)):
        layer = cv2.GaussianBlur(rng.standard_normal((height, width, 3)), (0, 0), sigma)
        total += layer / layer.std() * strength
    return total.clip(0, 255)


def moved(image, field):
    """What is seen at (x, y) in the result is at (x, y) + shift in `image`: written down by hand, for comparison."""
    height, width = image.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(float)
    u, v = 2 * columns / width - 1, 2 * rows / height - 1
    (x0, xu, xv), (y0, yu, yv) = field
    at = [rows + y0 + yu * u + yv * v, columns + x0 + xu * u + xv * v]
    return np.stack([map_coordinates(image[..., c], at, order=3, mode='mirror') for c in range(3)], -1)


def eight_bit(image):
    return image.clip(0, 255).round().astype(np.uint8)


def test_apply_moves_as_written_down():
    image = scene(96, 128)
    field = np.array(FIELDS['turn and zoom'])
    np.testing.assert_allclose(Registration(field, 0, 0).apply(image), moved(image, field), atol=0.01)
    np.testing.assert_allclose(Registration(field, 0, 0).apply(image[..., 1]), moved(image, field)[..., 1], atol=0.01)


@pytest.mark.parametrize('sigma', [20, *slow(2)])
@pytest.mark.parametrize('name', FIELDS)
def test_a_known_field_is_found(name, sigma):
    clean, field = scene(), np.array(FIELDS[name])
    noisy = moved(clean, field) * 0.95 + 4 + np.random.default_rng(1).normal(0, sigma, clean.shape)
    found = register(eight_bit(noisy), eight_bit(clean))
    corners = np.array([[1, u, v] for u in (-1, 0, 1) for v in (-1, 0, 1)])
    error = np.hypot(*((found.field - field) @ corners.T))
    assert error.max() < (0.03 if sigma == 2 else 0.12)
    assert found.after < 0.1
    assert found.before == pytest.approx(np.median(np.hypot(*(field @ corners.T))), abs=0.25)
    assert found.margin() % 8 == 0 and found.margin() >= np.abs(field).sum(1).max() + 2


def test_something_that_moves_does_not_count():
    clean, field = scene(), np.array(FIELDS['shift'])
    noisy = moved(clean, field)
    noisy[40:200, 60:220] = moved(clean, [[4, 0, 0], [4, 0, 0]])[40:200, 60:220]
    found = register(eight_bit(noisy), eight_bit(clean))
    assert np.abs(found.field - field).max() < 0.15


def test_what_cannot_be_registered():
    clean = scene()
    flat = np.random.default_rng(0).normal(128, 15, clean.shape)
    with pytest.raises(Unregistrable, match='too little texture'):
        register(eight_bit(flat), eight_bit(np.full(clean.shape, 128.)))
    with pytest.raises(Unregistrable):
        register(eight_bit(clean), eight_bit(scene(seed=5)))
    rows, columns = np.mgrid[:384, :512].astype(float)
    at = [rows + 1.5 * np.sin(columns / 40), columns + 1.5 * np.cos(rows / 40)]  # no affine field
    waves = np.stack([map_coordinates(clean[..., c], at, order=3, mode='mirror') for c in range(3)], -1)
    with pytest.raises(Unregistrable, match='parts are still shifted'):
        register(eight_bit(waves), eight_bit(clean))


def test_the_light_is_matched_and_noise_is_not():
    clean = scene(512, 640) * 0.5 + 60
    rows, columns = np.mgrid[:512, :640]
    light = np.stack([3 * np.sin(columns / 400), 2 - rows / 256, np.full(rows.shape, -3.)], -1)
    noise = np.random.default_rng(2).normal(0, 20, clean.shape)
    result = match_light(clean, clean + light + noise)
    inner = (slice(64, -64), slice(64, -64))
    assert np.abs(result - clean - light)[inner].max() < 0.8
    assert np.sqrt(np.mean((result - clean - light)[inner] ** 2)) < 0.3
    # Without noise and light nothing changes, and a thing that is in one image alone does not leak
    np.testing.assert_allclose(match_light(clean, clean), clean)
    other = clean.copy()
    other[200:280, 200:280] += 60
    assert np.abs(match_light(clean, other) - clean).max() < 0.5


def test_clipped_noise_is_no_light():
    clean = np.full((256, 256, 3), 250.)
    noisy = (clean + np.random.default_rng(3).normal(0, 20, clean.shape)).clip(0, 255)
    assert noisy.mean() < 245  # darker by clipping
    np.testing.assert_allclose(match_light(clean, noisy), clean, atol=0.01)


def pair(root, field, light=0.):
    clean = scene()
    save(root / 'gt/a.png', eight_bit(clean))
    noise = np.random.default_rng(1).normal(0, 6, clean.shape)
    save(root / 'lq/a.png', eight_bit(moved(clean, field) + light + noise))
    return clean


def test_prepare_registers_and_matches(tmp_path, capsys):
    pair(tmp_path / 'own', FIELDS['shift'], light=3)
    for extra in ([], ['--register'], ['--register', '--match-light']):
        summary = run('pairs', tmp_path / 'own', '-o', tmp_path / f'out{len(extra)}', *extra)
        images = [read(tmp_path / f'out{len(extra)}' / kind / 'a.png').astype(float) for kind in ('lq', 'gt')]
        difference = images[0] - images[1]
        if not extra:
            assert difference.std() > 10
            continue
        border = (384 - images[0].shape[0]) // 2
        assert border % 8 == 0 and images[0].shape == (384 - 2 * border, 512 - 2 * border, 3)
        assert difference.std() == pytest.approx(6, abs=0.2)
        assert difference.mean() == pytest.approx(0 if len(extra) == 2 else 3, abs=0.3)
        assert '  a: shift 0.81 -> 0.0' in summary
        entry = json.loads((tmp_path / f'out{len(extra)}/manifest.json').read_text())['images']['a']['alignment']
        assert entry['border'] == border and entry['psnr_after'] > entry['psnr_before'] + 4
    again = ('pairs', tmp_path / 'own', '-o', tmp_path / 'out0')
    assert 'register False (now True)' in fails(capsys, *again, '--register')


def test_pairs_that_cannot_be_registered_are_named_and_left_out(tmp_path, capsys):
    pair(tmp_path / 'own', FIELDS['none'])
    save(tmp_path / 'own/gt/b.png', np.full((384, 512, 3), 90, np.uint8))
    save(tmp_path / 'own/lq/b.png', eight_bit(np.random.default_rng(1).normal(90, 6, (384, 512, 3))))
    summary = run('pairs', tmp_path / 'own', '-o', tmp_path / 'out', '--register')
    assert '  b: left out, cannot be registered: b.png: too little texture' in summary
    assert names(tmp_path / 'out/lq') == ['a.png']
    assert '  b: left out' in run('pairs', tmp_path / 'own', '-o', tmp_path / 'out', '--register')
    for kind in ('gt', 'lq'):
        (tmp_path / f'own/{kind}/a.png').unlink()
    assert 'could be registered: b (b.png: too little texture)' in fails(
        capsys, 'pairs', tmp_path / 'own', '-o', tmp_path / 'none', '--register')


@pytest.mark.parametrize('layout', ['folders', 'names'])
def test_layouts_of_own_pairs(layout, tmp_path, capsys):
    root = tmp_path / 'own'
    for name in ('one', 'two'):
        for kind, word in (('gt', 'clean'), ('lq', 'noisy')):
            path = f'{kind}/{name}.png' if layout == 'folders' else f'{name}_{word}.png'
            save(root / path, eight_bit(scene(32, 40)))
    run('pairs', root, '-o', tmp_path / 'out')
    assert names(tmp_path / 'out/lq') == names(tmp_path / 'out/gt') == ['one.png', 'two.png']
    gone = root / ('gt/two.png' if layout == 'folders' else 'two_clean.png')
    gone.unlink()
    assert 'two' in fails(capsys, 'pairs', root, '-o', tmp_path / 'other')


@pytest.mark.slow
def test_a_burst_gives_a_pair(tmp_path, capsys):
    clean = scene()
    rng = np.random.default_rng(4)
    fields = [np.zeros((2, 3))] + [np.array([[x, 0, 0.1], [y, 0.1, 0]]) for x, y in rng.uniform(-1, 1, (8, 2))]
    for number, field in enumerate(fields):
        shot = moved(clean, field) + 2 * number - 8 + rng.normal(0, 12, clean.shape)
        save(tmp_path / f'bursts/desk/{number:02d}.png', eight_bit(shot))
    summary = run('burst', tmp_path / 'bursts', '-o', tmp_path / 'out', '--register', '--match-light')
    assert '  desk: shift ' in summary
    noisy, truth = (read(tmp_path / f'out/{kind}/desk.png').astype(float) for kind in ('lq', 'gt'))
    border = (384 - noisy.shape[0]) // 2
    inner = clean[border:-border, border:-border] - 8  # the light of the first shot
    unclipped = (inner > 40) & (inner < 215)
    assert (noisy - inner)[unclipped].std() == pytest.approx(12, abs=0.5)
    assert (truth - inner)[unclipped].std() < 6  # eight shots, interpolated: about 12 / √8
    assert abs((truth - inner)[unclipped].mean()) < 0.6
    save(tmp_path / 'single/a/0.png', eight_bit(clean))
    command = ('burst', tmp_path / 'single', '-o', tmp_path / 'x')
    assert 'a holds 1 image; a burst is two or more' in fails(capsys, *command)
    save(tmp_path / 'single/a/1.png', eight_bit(clean[:100]))
    assert '0.png is 512x384, but its clean partner 1.png is 512x100' in fails(capsys, *command)


def test_names_in_any_alphabet(tmp_path):
    for name in ('照片一', '照片二', 'Übung', 'a b'):
        save(tmp_path / f'in/{name}.png', eight_bit(scene(16, 16)))
    run('div2k', tmp_path / 'in', '-o', tmp_path / 'out', '--size', 0)
    assert names(tmp_path / 'out/gt') == ['a_b.png', 'u00dcbung.png', 'u7167u7247u4e00.png', 'u7167u7247u4e8c.png']
    run('div2k', tmp_path / 'in', '-o', tmp_path / 'out', '--size', 0, '--lmdb')


def test_an_lmdb_grows_with_its_content(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, 'FIRST_MAP', 2 ** 17)
    rng = np.random.default_rng(0)
    for number in range(6):
        save(tmp_path / f'in/{number}.png', rng.integers(0, 256, (120, 120, 3)).astype(np.uint8))
    run('div2k', tmp_path / 'in', '-o', tmp_path / 'out', '--size', 0, '--lmdb')
    run('div2k', tmp_path / 'in', '-o', tmp_path / 'out', '--size', 0)
    import lmdb
    with lmdb.open(str(tmp_path / 'out/gt.lmdb'), readonly=True) as env, env.begin() as txn:
        assert 6 * 43200 < env.info()['map_size'] < 2 ** 24
        for number in range(6):
            assert txn.get(str(number).encode()) == (tmp_path / f'out/gt/{number}.png').read_bytes()

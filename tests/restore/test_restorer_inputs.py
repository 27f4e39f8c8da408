"""What a Restorer takes as an image, and what it refuses."""

import numpy as np
import PIL.Image
import pytest
import torch

from maxl_sr import Restorer
from maxl_sr.errors import UserError
from tests.helpers import slow
from tests.restore.restorers import ADAPTING, image, make


@pytest.mark.parametrize('dtype', [torch.uint8, torch.uint16, torch.float32,
                                   *slow(torch.float64, torch.float16, torch.bfloat16)])
@pytest.mark.parametrize('shape', [(3, 60, 72), (1, 3, 60, 72), (60, 72), (1, 60, 72), (1, 1, 60, 72)])
@pytest.mark.parametrize('scale', [1, *slow(2)])
def test_tensors(dtype, shape, scale):
    y = image(channels=3 if 3 in shape else 1, dtype=np.float32)
    planes = torch.from_numpy(y).permute(2, 0, 1).reshape(shape)
    largest = {torch.uint8: 255, torch.uint16: 65535}.get(dtype)
    given = planes.to(dtype) if largest is None else (planes * largest).round().to(dtype)
    restored = make(scale=scale).restore(given)
    assert restored.dtype == dtype and restored.shape == (*shape[:-2], 60 * scale, 72 * scale)
    expected = torch.from_numpy(make(scale=scale).restore(y)).permute(2, 0, 1).reshape(restored.shape)
    tolerance = {torch.uint8: 8e-3, torch.float16: 2e-3, torch.bfloat16: 1e-2}.get(dtype, 1e-4)
    torch.testing.assert_close(restored.float() / (largest or 1), expected, rtol=0, atol=tolerance)
    assert given.requires_grad is False


@pytest.mark.parametrize('mode', ['L', 'RGB', 'I;16'])
def test_images_of_pillow(mode):
    y = image(channels=3 if mode == 'RGB' else 1, dtype=np.uint16 if mode == 'I;16' else np.uint8)
    y = y if mode == 'RGB' else y[..., 0]
    given = PIL.Image.fromarray(y)
    given.info['icc_profile'] = b'profile'
    restored = make().restore(given)
    assert given.mode == restored.mode == mode and restored.info == {'icc_profile': b'profile'}
    np.testing.assert_array_equal(np.asarray(restored), make().restore(y))


def test_any_path(tmp_path):
    PIL.Image.fromarray(image()).save(tmp_path / 'a.png')

    class Named:
        def __fspath__(self):
            return str(tmp_path / 'a.png')

    np.testing.assert_array_equal(make().restore(Named()), make().restore(image()))


NO_IMAGES = {'None': None, 'a list': [[1, 2], [3, 4]], 'a int': 3, 'a bytes': b'x', 'a dict': {}, 'a tuple': (1, 2),
             'a set': set(), 'a float': 0.5, 'a object': object(), 'a type': np.ndarray, 'a range': range(3)}


@pytest.mark.parametrize('kind', NO_IMAGES)
def test_what_is_no_image_is_refused_in_a_sentence(kind):
    with pytest.raises(UserError, match='an image must be a NumPy array, a tensor, an image of Pillow or the path of a '
                                        f'file, not {kind}$'):
        make().restore(NO_IMAGES[kind])
    with pytest.raises(UserError, match='an image must be a NumPy array'):
        make().run(NO_IMAGES[kind])


@pytest.mark.parametrize('given, message', [
    (torch.zeros(4, 8, 8), r'a tensor must be of shape .* not \(4, 8, 8\)'),
    (torch.zeros(2, 3, 8, 8), r'a tensor must be of shape'), (torch.zeros(8), 'a tensor must be of shape'),
    (torch.zeros(3, 0, 8), r'an image must be of shape'), (torch.zeros(3, 8, 8).long(), 'not int64'),
    (torch.full((3, 8, 8), 2.0), r'must be in \[0, 1\], not 2.0'), (torch.zeros(3, 8, 8, dtype=torch.bool), 'not bool'),
    (torch.zeros(3, 8, 8, dtype=torch.complex64), 'not complex64'),
    (PIL.Image.new('RGBA', (8, 8)), 'an image of Pillow must be of mode L, RGB, I;16, not RGBA; convert it'),
    (PIL.Image.new('P', (8, 8)), 'not P'), (PIL.Image.new('CMYK', (8, 8)), 'not CMYK'),
    (PIL.Image.new('1', (8, 8)), 'not 1'), (PIL.Image.new('RGB', (0, 8)), 'an image must be of shape'),
    (np.array(None), r'of shape .* not \(\)'), (np.array([['a']]), 'not <U1'),
])
def test_tensors_and_images_of_pillow_that_cannot_be_restored(given, message):
    with pytest.raises(UserError, match=message):
        make().restore(given)


@pytest.mark.parametrize('call, message', [
    (lambda: Restorer.from_pretrained('slow'), "there is no preset 'slow'; the package brings fast, "),
    (lambda: Restorer.from_pretrained('fast', 'abacus'), "device 'abacus' is unknown"),
    (lambda: Restorer.from_pretrained('fast', 'meta'), "device 'meta' is unknown"),
    (lambda: Restorer(torch.nn.Conv2d(3, 3, 1)), 'a Conv2d has no heads to adapt'),
    (lambda: make().restore(image(), sample_pixels=0), 'sample_pixels must be an integer of at least 1, not 0'),
    (lambda: make(ADAPTING).restore(image(), steps=1.5), 'steps must be an integer of at least 0, not 1.5'),
    (lambda: make(ADAPTING).restore(image(), lr=1e30), 'the adaptation diverged: the restored image is not finite'),
    (lambda: make(ADAPTING).restore(image(), lr=1e38, steps=1), 'the adaptation diverged'),  # its loss was finite
    (lambda: make().restore(np.zeros((4, 4, 4), np.uint8)), r'an image must be of shape .* not \(4, 4, 4\)'),
    (lambda: make().restore(np.zeros((0, 4, 3), np.uint8)), r'an image must be of shape .* not \(0, 4, 3\)'),
    (lambda: make().restore(np.zeros((4, 4, 3), np.int64)), 'uint8, uint16 or floating point, not int64'),
    (lambda: make().restore(np.full((4, 4, 3), 255.0)), r'must be in \[0, 1\], not 255.0'),
    (lambda: make().restore(np.full((4, 4, 3), np.nan)), r'must be in \[0, 1\], not nan'),
    (lambda: make().restore(image(), steps=1), 'this network has no objective to adapt on'),
    (lambda: make(ADAPTING).restore(image(), steps=-1), 'steps must be an integer of at least 0, not -1'),
    (lambda: make(ADAPTING).restore(image(), lr=0.0), 'lr must be greater than 0, not 0.0'),
    (lambda: make().restore(image(), tile=33), 'tile must be a multiple of 2, not 33'),
    (lambda: make().restore(image(), 'out.png'), 'output is for an image that is given by its path'),
    (lambda: make().restore('lost.png'), 'there is no file lost.png'),
    (lambda: make(ADAPTING).restore(image(), steps=True), 'steps must be an integer of at least 0, not True'),
    (lambda: make(ADAPTING).restore(image(), steps='2'), "steps must be an integer of at least 0, not '2'"),
    (lambda: make(ADAPTING).restore(image(), steps=np.float64(2)), 'steps must be an integer'),
    (lambda: make(ADAPTING).restore(image(), steps=10 ** 30), 'steps must be at most 100000'),
    (lambda: make(ADAPTING).restore(image(), lr='0.1'), "lr must be greater than 0, not '0.1'"),
    (lambda: make(ADAPTING).restore(image(), lr=np.inf), 'lr must be greater than 0, not inf'),
    (lambda: make(ADAPTING).restore(image(), lr=np.nan), 'lr must be greater than 0, not nan'),
    (lambda: make().restore(image(), tile=64.0), 'tile must be an integer of at least 1, not 64.0'),
    (lambda: make().restore(image(), tile=0), 'tile must be an integer of at least 1, not 0'),
    (lambda: make().restore(torch.zeros(3, 8, 8), 'out.png'), 'output is for an image that is given by its path'),
])
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

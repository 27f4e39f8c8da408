"""Files come back as they were, but for their pixels."""

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from maxl_sr.errors import UserError
from maxl_sr.folders import photos
from maxl_sr.photo import Photo


def wide_gamut():
    """The profile of sRGB with another red: rXYZ holds a signature, a reserved word and three fixed-point numbers."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes())
    entry = profile.index(b'rXYZ')
    start = int.from_bytes(profile[entry + 4:entry + 8], 'big') + 8
    profile[start:start + 4] = round(0.6097 * 65536).to_bytes(4, 'big')
    return bytes(profile)


PROFILE = wide_gamut()


def pixels(height=20, width=30, channels=3, dtype=np.uint8):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def save(path, array, mode=None, **options):
    Image.fromarray(array, mode).save(path, **options)
    return path


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.webp', '.jpg'])
def test_profile_orientation_and_exif_are_kept(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, 'Maker'  # orientation, make
    lossless = {'lossless': True} if suffix == '.webp' else {}
    source = save(tmp_path / f'in{suffix}', pixels(), exif=exif, icc_profile=PROFILE, **lossless)
    photo = Photo.read(source)
    assert photo.pixels.shape == (20, 30, 3) and photo.pixels.dtype == np.uint8  # not turned
    photo.write(255 - photo.pixels, tmp_path / f'out{suffix}')
    with Image.open(tmp_path / f'out{suffix}') as out:
        with Image.open(source) as before:
            assert out.size == before.size  # Pillow turns TIFF files
        assert out.mode == 'RGB' and out.info['icc_profile'] == PROFILE
        assert out.getexif()[0x0112] == 6
        if suffix != '.tif':  # libvips does not read them there
            assert out.getexif()[0x010F] == 'Maker'
        if suffix in ('.png', '.tif'):
            np.testing.assert_array_equal(Photo.read(tmp_path / f'out{suffix}').pixels, 255 - photo.pixels)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('channels', [1, 3])
def test_sixteen_bits_are_kept(tmp_path, suffix, channels):
    array = pixels(channels=channels, dtype=np.uint16).reshape(20, 30, channels)
    save(tmp_path / f'in{suffix}', pixels(channels=channels))
    assert Photo.read(tmp_path / f'in{suffix}').pixels.dtype == np.uint8
    image = pyvips.Image.new_from_array(array).copy(interpretation='rgb16' if channels == 3 else 'grey16')
    image.write_to_file(str(tmp_path / f'in{suffix}'))
    photo = Photo.read(tmp_path / f'in{suffix}')
    np.testing.assert_array_equal(photo.pixels, array)
    photo.write(photo.pixels, tmp_path / f'out{suffix}')
    np.testing.assert_array_equal(Photo.read(tmp_path / f'out{suffix}').pixels, array)


@pytest.mark.parametrize('channels, mode', [(2, 'LA'), (4, 'RGBA')])
def test_alpha_is_kept(tmp_path, channels, mode):
    array = pixels(channels=channels)
    photo = Photo.read(save(tmp_path / 'in.png', array))
    assert photo.pixels.shape[2] == channels - 1
    photo.write(photo.pixels, tmp_path / 'out.png')
    with Image.open(tmp_path / 'out.png') as out:
        assert out.mode == mode
        np.testing.assert_array_equal(np.asarray(out), array)
    photo.write(photo.pixels.repeat(2, 0).repeat(2, 1), tmp_path / 'large.png')
    with Image.open(tmp_path / 'large.png') as out:
        assert out.size == (60, 40) and out.mode == mode
    with pytest.raises(UserError, match='jpg cannot hold an alpha channel'):
        photo.write(photo.pixels, tmp_path / 'out.jpg')


def test_enlarged_alpha_lies_on_its_pixels(tmp_path):
    array = pixels(channels=4)
    array[..., 3] = np.where(np.arange(30) < 15, 0, 255)
    photo = Photo.read(save(tmp_path / 'in.png', array))
    photo.write(photo.pixels.repeat(2, 0).repeat(2, 1), tmp_path / 'out.png')
    with Image.open(tmp_path / 'out.png') as out:
        alpha = np.asarray(out)[..., 3].astype(int)
    np.testing.assert_array_equal(alpha, 255 - alpha[:, ::-1])  # the edge is in the middle
    assert not alpha[:, 0].any() and alpha[0, 29] < 128 <= alpha[0, 30]


@pytest.mark.parametrize('name, make, message', [
    ('none.png', None, 'there is no file .*none.png'),
    ('text.png', lambda path: path.write_text('no image'), 'cannot read the image .*text.png'),
    ('half.jpg', lambda path: (save(path, pixels(200, 200)), path.write_bytes(path.read_bytes()[:5000])),
     'cannot read the image .*half.jpg'),
    ('cmyk.jpg', lambda path: Image.fromarray(pixels()).convert('CMYK').save(path), 'cmyk.jpg is cmyk of uchar'),
    ('moving.png', lambda path: Image.fromarray(pixels()).save(path, 'GIF'), 'moving.png is no JPEG'),
    ('caf\udce9.png', lambda path: save(path, pixels()), 'the name is not UTF-8; rename it'),
    ('pages.tif', lambda path: Image.fromarray(pixels()).save(path, save_all=True,
                                                              append_images=[Image.fromarray(pixels())]),
     'pages.tif has 2 pages'),
])
def test_what_cannot_be_read_is_named(tmp_path, name, make, message):
    if make:
        make(tmp_path / name)
    with pytest.raises(UserError, match=message):
        Photo.read(tmp_path / name)


def test_what_cannot_be_written_is_named_and_leaves_nothing(tmp_path):
    photo = Photo.read(save(tmp_path / 'in.png', pixels()))
    image = pyvips.Image.new_from_array(pixels(dtype=np.uint16)).copy(interpretation='rgb16')
    image.write_to_file(str(tmp_path / 'in16.png'))
    deep = Photo.read(tmp_path / 'in16.png')
    for name, one, message in (('out.gif', photo, 'the ending must be one of'), ('out.jpg', deep, 'hold 16 bits')):
        with pytest.raises(UserError, match=message):
            one.write(one.pixels, tmp_path / name)
    with pytest.raises(UserError, match='cannot write .*lost'):
        photo.write(photo.pixels, tmp_path / 'lost' / 'out.png')
    (tmp_path / 'folder.png').mkdir()
    for name in ('folder.png', 'in.png/out.png', 'x' * 300 + '.png'):
        with pytest.raises(UserError, match=f'cannot write .*{name}'):
            photo.write(photo.pixels, tmp_path / name)
    photo.write(photo.pixels, tmp_path / ('x' * 240 + '.png'))  # as long as a name may be
    assert sorted(path.name[:3] for path in tmp_path.iterdir()) == ['fol', 'in.', 'in1', 'xxx']


def test_images_of_a_folder(tmp_path):
    for name in ('b.PNG', 'a.jpeg', 'sub/c.tif', 'notes.txt', '.a.partial.png', '.thumbnails/a.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.relative_to(tmp_path).as_posix() for path in photos(tmp_path)] == ['a.jpeg', 'b.PNG', 'sub/c.tif']
    assert photos(tmp_path / 'notes.txt') == [tmp_path / 'notes.txt']

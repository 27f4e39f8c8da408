"""What AVIF and HEIC files hold besides pixels: carried over, refused, or told. Rows of the table in the docs."""

import importlib
import io
import struct
import sys
import zlib

import numpy as np
import pytest
import pyvips
from PIL import Image

from maxl_sr.errors import UserError
from maxl_sr.formats import endings, heif
from maxl_sr.photo import Photo
from tests.formats.photo_files import HEIF, PROFILE, encoded, exif, pixels, through


def test_avif_keeps_profile_exif_and_alpha(tmp_path):
    array = np.dstack([pixels(), np.full((40, 60), 200, np.uint8)])
    photo, data = through(tmp_path, 'a.avif', encoded('AVIF', array, quality=100, exif=exif(), icc_profile=PROFILE))
    with Image.open(io.BytesIO(data)) as out:
        assert out.format == 'AVIF' and out.mode == 'RGBA' and out.size == (60, 40)
        assert out.info['icc_profile'] == PROFILE and out.getexif()[0x010F] == 'Maker'
        assert np.abs(np.asarray(out).astype(int)[..., :3] - array[..., :3]).mean() < 8
        assert np.abs(np.asarray(out).astype(int)[..., 3] - 200).max() <= 2


@pytest.mark.parametrize('bits', [10, 12])
def test_the_depth_of_avif_is_kept(tmp_path, bits):
    array = pixels(dtype=np.uint16)
    image = pyvips.Image.new_from_array(array).copy(interpretation='rgb16')
    image.heifsave(str(tmp_path / 'a.avif'), compression='av1', bitdepth=bits, Q=98)
    photo = Photo.read(tmp_path / 'a.avif')
    assert photo.pixels.dtype == np.uint16 and np.abs(photo.pixels.astype(int) - array).mean() < 600
    photo.write(photo.pixels, tmp_path / 'out.avif')
    assert pyvips.Image.new_from_file(str(tmp_path / 'out.avif')).get('bits-per-sample') == bits
    with pytest.raises(UserError, match=f'.jpg cannot hold {bits} bits; use .png or .tif'):
        photo.write(photo.pixels, tmp_path / 'out.jpg')
    image.write_to_file(str(tmp_path / 'deep.png'))
    with pytest.raises(UserError, match='.avif cannot hold 16 bits'):
        Photo.read(tmp_path / 'deep.png').check_target(tmp_path / 'out.avif')




@pytest.mark.parametrize('suffix', HEIF)
def test_a_turned_photograph_is_upright_in_heif(tmp_path, suffix):
    array = pixels()
    array[:20] = 0
    (tmp_path / 'a.jpg').write_bytes(encoded('JPEG', array, quality=95, exif=exif(6)))  # dark above: to the right
    photo = Photo.read(tmp_path / 'a.jpg')
    photo.write(photo.pixels, tmp_path / f'out.{suffix}')
    turned = Photo.read(tmp_path / f'out.{suffix}')
    assert turned.pixels.shape == (60, 40, 3)
    assert turned.pixels[:, 25:].mean() < 10 < turned.pixels[:, :15].mean()
    turned.write(turned.pixels, tmp_path / 'again.png')
    with Image.open(tmp_path / 'again.png') as out:
        assert out.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize('values', [(9, 16), (9, 18), (12, 13), (1, 8)])
@pytest.mark.parametrize('suffix', HEIF)
def test_heif_in_colours_that_would_be_lost_is_refused(tmp_path, suffix, values):
    if suffix == 'avif':
        data = encoded('AVIF')
    else:
        import pillow_heif
        pillow_heif.options.SAVE_NCLX_PROFILE = True
        file = io.BytesIO()
        pillow_heif.from_bytes('RGB', (60, 40), pixels().tobytes()).save(file, quality=90)
        data = file.getvalue()
    at = data.index(b'colrnclx') + 8
    (tmp_path / f'a.{suffix}').write_bytes(data[:at] + struct.pack('>HH', *values) + data[at + 4:])
    with pytest.raises(UserError, match=f'primaries {values[0]}, transfer {values[1]} .*would be lost'):
        Photo.read(tmp_path / f'a.{suffix}')


@pytest.mark.parametrize('kind', [b'\xff\xfeif', b'E\xe9if', b'abcd'])
def test_what_an_avif_holds_besides_may_have_any_name(tmp_path, kind):
    data = encoded('AVIF', exif=exif())
    at = data.index(b'Exif', data.index(b'infe'))
    photo, _ = through(tmp_path, 'a.avif', data[:at] + kind + data[at + 4:])
    assert photo.pixels.shape == (40, 60, 3)


def test_more_pixels_than_fit_into_memory_are_refused(tmp_path):
    data = encoded('PNG')
    header = struct.pack('>II', 200000, 9000000) + data[24:29]
    (tmp_path / 'a.png').write_bytes(data[:16] + header + struct.pack('>I', zlib.crc32(b'IHDR' + header)) + data[33:])
    with pytest.raises(UserError, match='cannot read the image .*a.png|200000×9000000 pixels are more than fit'):
        Photo.read(tmp_path / 'a.png')


def test_a_sequence_of_avif_is_refused(tmp_path):
    more = [Image.fromarray(pixels(seed=1))]
    (tmp_path / 'a.avif').write_bytes(encoded('AVIF', save_all=True, append_images=more))
    with pytest.raises(UserError, match='a.avif holds several pictures'):
        Photo.read(tmp_path / 'a.avif')


@pytest.mark.skipif(not endings.has_heic(), reason='no pillow-heif')
class TestHeic:
    def make(self, path, array=None, mode='RGB', **options):
        import pillow_heif
        array = pixels() if array is None else array
        pillow_heif.from_bytes(mode, array.shape[1::-1], array.tobytes()).save(path, **options)
        return path

    def test_profile_and_exif_are_kept(self, tmp_path):
        self.make(tmp_path / 'a.heic', quality=95, exif=exif().tobytes(), icc_profile=PROFILE)
        photo = Photo.read(tmp_path / 'a.heic')
        assert np.abs(photo.pixels.astype(int) - pixels()).mean() < 8
        for suffix in ('heic', 'png', 'jpg', 'avif', 'tif', 'webp'):
            photo.write(photo.pixels, tmp_path / f'out.{suffix}')
            again = Photo.read(tmp_path / f'out.{suffix}')
            assert again._source.get('icc-profile-data') == PROFILE
            if suffix != 'tif':
                assert b'Maker' in again._source.get('exif-data')

    @pytest.mark.parametrize('mode, channels', [('L', 1), ('RGBA', 4)])
    def test_grey_and_alpha(self, tmp_path, mode, channels):
        photo = Photo.read(self.make(tmp_path / 'a.heic', pixels(channels=channels), mode, quality=95))
        photo.write(photo.pixels, tmp_path / 'out.heic')
        again = Photo.read(tmp_path / 'out.heic')
        assert again.pixels.shape == photo.pixels.shape and (again._alpha is None) == (channels == 1)

    def test_ten_bits_are_kept(self, tmp_path):
        photo = Photo.read(self.make(tmp_path / 'a.heic', pixels(dtype=np.uint16), 'RGB;16', quality=95))
        assert photo.pixels.dtype == np.uint16
        photo.write(photo.pixels, tmp_path / 'out.heic')
        assert Photo.read(tmp_path / 'out.heic')._source.get('bits-per-sample') == 10
        with pytest.raises(UserError, match='.jpg cannot hold 10 bits'):
            photo.check_target(tmp_path / 'out.jpg')

    def test_several_images_are_refused(self, tmp_path):
        import pillow_heif
        file = pillow_heif.from_bytes('RGB', (60, 40), pixels().tobytes())
        file.add_from_heif(pillow_heif.from_bytes('RGB', (60, 40), pixels(seed=1).tobytes())[0])
        file.save(tmp_path / 'a.heic', quality=90)
        with pytest.raises(UserError, match='cannot read the image .*a.heic: it holds 2 images'):
            Photo.read(tmp_path / 'a.heic')

    def test_a_cut_file_is_refused(self, tmp_path):
        data = self.make(tmp_path / 'a.heic', quality=90).read_bytes()
        (tmp_path / 'a.heic').write_bytes(data[:len(data) * 2 // 3])
        with pytest.raises(UserError, match='cannot read the image .*a.heic'):
            Photo.read(tmp_path / 'a.heic')

    def test_without_the_extra_it_is_named(self, tmp_path, monkeypatch):
        self.make(tmp_path / 'a.heic', quality=90)
        (tmp_path / 'b.jpg').write_bytes((tmp_path / 'a.heic').read_bytes())
        monkeypatch.setattr(endings, 'has_heic', lambda: False)
        endings.suffixes.cache_clear()
        try:
            with pytest.raises(UserError, match="a.heic: HEIC needs the extra 'heic': pip install 'maxl_sr.heic.'"):
                Photo.read(tmp_path / 'a.heic')
            with pytest.raises(UserError, match="b.jpg: HEIC needs the extra 'heic'"):
                Photo.read(tmp_path / 'b.jpg')
            with pytest.raises(UserError, match="out.heic: HEIC needs the extra 'heic'"):
                endings.check_suffix(tmp_path / 'out.heic')
        finally:
            endings.suffixes.cache_clear()


def test_pillow_heif_is_imported_when_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    importlib.reload(heif)
    with pytest.raises(ImportError):
        heif._heif()

"""What a photograph's file holds besides pixels: carried over, refused, or told. The rows of the table in the docs."""

import importlib
import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, PngImagePlugin

from maxl_sr.errors import UserError
from maxl_sr.formats import endings, heif, jpeg, png
from maxl_sr.photo import Photo


def pixels(height=40, width=60, channels=3, dtype=np.uint8, seed=0):
    small = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (6, 8, channels), dtype)
    return cv2.resize(small, (width, height)).reshape(height, width, channels)


def encoded(kind, array=None, **options):
    file = io.BytesIO()
    Image.fromarray(pixels() if array is None else array).save(file, kind, **options)
    return file.getvalue()


def with_chunks(data, *chunks):
    return data[:png.HEADER_END] + b''.join(chunks) + data[png.HEADER_END:]


def with_segment(data, marker, payload):
    return data[:2] + bytes([0xff, marker]) + struct.pack('>H', len(payload) + 2) + payload + data[2:]


def through(folder, name, data, target=None):
    """Write a file, restore nothing of it, and return the photo and the bytes of the result."""
    (folder / name).write_bytes(data)
    photo = Photo.read(folder / name)
    target = folder / (target or f'out-{name}')
    photo.write(photo.pixels, target)
    return photo, target.read_bytes()


def chunks_of(data):
    position, found = 8, []
    while position < len(data):
        length, name = struct.unpack('>I4s', data[position:position + 8])
        found.append((name, data[position + 8:position + 8 + length]))
        position += length + 12
    return found


# ---- PNG ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('kind', ['PNG', 'WEBP'])
def test_animations_are_refused(tmp_path, kind):
    frames = [Image.fromarray(pixels(seed=seed)) for seed in range(3)]
    path = tmp_path / f'moving.{kind.lower()}'
    frames[0].save(path, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match=f'moving.{kind.lower()} has 3 pages; one image a file can be restored'):
        Photo.read(path)


def test_an_animation_of_one_picture_is_a_picture(tmp_path):
    data = with_chunks(encoded('PNG'), png.chunk(b'acTL', struct.pack('>II', 1, 0)))
    assert through(tmp_path, 'a.png', data)[0].pixels.shape == (40, 60, 3)


COLOUR = {b'cICP': bytes([9, 16, 0, 1]), b'gAMA': struct.pack('>I', 100000),
          b'cHRM': struct.pack('>8I', 31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600),
          b'sRGB': b'\x01', b'mDCV': bytes(24), b'cLLI': bytes(8)}


@pytest.mark.parametrize('name', COLOUR)
def test_chunks_of_colour_are_kept(tmp_path, name):
    photo, data = through(tmp_path, 'a.png', with_chunks(encoded('PNG'), png.chunk(name, COLOUR[name])))
    found = chunks_of(data)
    assert (name, COLOUR[name]) in found
    names = [chunk for chunk, _ in found]
    assert names[0] == b'IHDR' and names.index(name) < names.index(b'IDAT')
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels())
    if name != b'sRGB':
        for suffix in ('jpg', 'tif', 'webp', 'avif'):
            with pytest.raises(UserError, match=rf'out.{suffix}: .{suffix} cannot hold what .* \({name.decode()}\)'):
                photo.write(photo.pixels, tmp_path / f'out.{suffix}')


def test_chunks_that_say_srgb_may_be_dropped(tmp_path):
    data = with_chunks(encoded('PNG'), *(png.chunk(name, value) for name, value in png.SRGB.items()))
    assert through(tmp_path, 'a.png', data, 'out.jpg')[1].startswith(b'\xff\xd8')


@pytest.mark.parametrize('text', ['照片标题', 'Überschrift', '', 'x' * 70000, '📷 \t"&<>'])
@pytest.mark.parametrize('compressed', [False, True])
def test_texts_are_kept(tmp_path, text, compressed):
    info = PngImagePlugin.PngInfo()
    info.add_itxt('Title', text, 'zh', '标题', zip=compressed)
    info.add_text('Comment', 'hello', zip=compressed)
    before = encoded('PNG', pnginfo=info)
    photo, data = through(tmp_path, 'a.png', before)
    with Image.open(io.BytesIO(data)) as out:
        out.load()
        assert out.text == {'Title': text, 'Comment': 'hello'}
        assert out.text['Title'].lang == 'zh' and out.text['Title'].tkey == '标题'
    assert [part for part in chunks_of(before) if part[0].endswith((b'Xt', b'XT'))] == [
        part for part in chunks_of(data) if part[0][1:] in (b'EXt', b'TXt')]
    assert photo.losses(tmp_path / 'a.webp') == ['.webp cannot hold its texts, which is left out']


@pytest.mark.parametrize('name, text', [(b'Title', b'caf\xe9'), (b'T\xeftle', b'x'), (b'Title', b'\xff\xfe\x00x')])
def test_texts_that_are_not_utf8_are_kept(tmp_path, name, text):
    """Texts of the kind tEXt are Latin-1."""
    before = with_chunks(encoded('PNG'), png.chunk(b'tEXt', name + b'\0' + text))
    photo, data = through(tmp_path, 'a.png', before)
    assert (b'tEXt', name + b'\0' + text) in chunks_of(data)
    photo.write(photo.pixels, tmp_path / 'a.jpg')


@pytest.mark.parametrize('kind, suffix', [('JPEG', 'jpg'), ('PNG', 'png'), ('WEBP', 'webp')])
def test_exif_that_is_not_utf8_is_kept(tmp_path, kind, suffix):
    block = exif()
    block[0x010F] = 'XXXX'
    data = encoded(kind, exif=block.tobytes().replace(b'XXXX', b'caf\xe9'))
    if kind == 'PNG' and b'caf\xe9' not in data:
        pytest.skip('compressed')
    assert b'caf\xe9' in through(tmp_path, f'a.{suffix}', data)[1]


def test_xmp_of_a_png_is_there_once(tmp_path):
    info = PngImagePlugin.PngInfo()
    info.add_itxt('XML:com.adobe.xmp', '<x:xmpmeta xmlns:x="adobe:ns:meta/">题</x:xmpmeta>')
    photo, data = through(tmp_path, 'a.png', encoded('PNG', pnginfo=info))
    assert data.count(b'XML:com.adobe.xmp') == 1 and '题'.encode() in data
    assert not photo.losses(tmp_path / 'a.jpg')
    photo.write(photo.pixels, tmp_path / 'a.jpg')
    assert '题'.encode() in (tmp_path / 'a.jpg').read_bytes()


# ---- JPEG ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('progressive', [False, True])
def test_comments_are_kept(tmp_path, progressive):
    comments = [b'a comment \xff\xd8', '评论'.encode(), b'', b'z' * 60000]
    data = encoded('JPEG', progressive=progressive)
    for comment in reversed(comments):
        data = with_segment(data, jpeg.COM, comment)
    photo, out = through(tmp_path, 'a.jpg', data)
    assert [segment.payload for segment in jpeg.segments(out) if segment.marker == jpeg.COM] == comments
    assert Image.open(io.BytesIO(out)).size == (60, 40) and not photo.notes
    assert photo.losses(tmp_path / 'a.png') == ['.png cannot hold its comments, which is left out']


def test_a_long_xmp_is_kept_whole(tmp_path):
    part = jpeg.EXTENSION + bytes(32) + struct.pack('>II', 10, 0) + b'<extended>'
    _, out = through(tmp_path, 'a.jpg', with_segment(encoded('JPEG'), 0xe1, part))
    assert part in out


@pytest.mark.parametrize('count', [2, 3])
def test_the_further_pictures_of_an_mpo_are_told(tmp_path, count):
    frames = [Image.fromarray(pixels(seed=seed)) for seed in range(count)]
    frames[0].save(tmp_path / 'a.mpo', save_all=True, append_images=frames[1:])
    photo, out = through(tmp_path, 'a.jpg', (tmp_path / 'a.mpo').read_bytes())
    number = '1 further picture of the file (MPO) is' if count == 2 else '2 further pictures of the file (MPO) are'
    assert photo.notes == [f'{number} left out'] and b'MPF\0' not in out


def test_what_is_behind_the_picture_is_told(tmp_path):
    photo, _ = through(tmp_path, 'a.jpg', encoded('JPEG') + b'\0\0\0\x18ftypmp42' + b'video' * 10)
    assert photo.notes == ['62 bytes behind the picture are left out (of a motion photo, for one)']
    assert not through(tmp_path, 'b.jpg', encoded('JPEG') + bytes(500))[0].notes  # padding


def test_segments_that_are_left_out_are_told(tmp_path):
    data = with_segment(with_segment(encoded('JPEG'), 0xeb, b'JP\0\0credentials'), 0xe4, b'own')
    assert through(tmp_path, 'a.jpg', data)[0].notes == ['the segments APP4, APP11 are left out']


def ultra_hdr(path):
    linear = cv2.resize(np.random.default_rng(0).random((6, 8, 3)).astype(np.float32) * 4, (96, 64))
    pyvips.Image.new_from_array(linear).copy(interpretation='scrgb').uhdrsave(str(path))
    return path


@pytest.mark.parametrize('scale', [1, 2])
def test_the_gain_map_of_ultra_hdr_is_kept(tmp_path, scale):
    photo = Photo.read(ultra_hdr(tmp_path / 'a.jpg'))
    assert photo.pixels.shape == (64, 96, 3) and photo.pixels.dtype == np.uint8 and not photo.notes
    photo.write(photo.pixels.repeat(scale, 0).repeat(scale, 1), tmp_path / 'out.jpg')
    out = pyvips.Image.new_from_file(str(tmp_path / 'out.jpg'))
    before = pyvips.Image.new_from_file(str(tmp_path / 'a.jpg'))
    assert out.get('vips-loader') == 'uhdrload' and out.width == 96 * scale
    for name in ('gainmap-max-content-boost', 'gainmap-hdr-capacity-max', 'gainmap-gamma'):
        assert out.get(name) == pytest.approx(before.get(name), rel=1e-4)
    maps = [pyvips.Image.jpegload_buffer(image.get('gainmap-data')).numpy().astype(int) for image in (before, out)]
    assert maps[0].shape == maps[1].shape and np.abs(maps[0] - maps[1]).mean() < 3
    assert np.abs(Photo.read(tmp_path / 'out.jpg').pixels[::scale, ::scale].astype(int) - photo.pixels).mean() < 4
    assert photo.losses(tmp_path / 'a.png') == ['.png cannot hold its gain map, which is left out']


def test_a_damaged_gain_map_is_told(tmp_path):
    data = bytearray(ultra_hdr(tmp_path / 'a.jpg').read_bytes())
    at = data.index(b'\xff\xd8', 4)
    data[at + 40:] = bytes(len(data) - at - 40)
    (tmp_path / 'b.jpg').write_bytes(data)
    photo = Photo.read(tmp_path / 'b.jpg')
    assert photo.pixels.shape == (64, 96, 3) and photo.notes[-1].endswith('left out')


def test_an_ultra_hdr_file_may_have_stray_bytes(tmp_path):
    data = ultra_hdr(tmp_path / 'a.jpg').read_bytes()
    (tmp_path / 'b.jpg').write_bytes(at_marker(data, 0xdb, b'\x12\x34'))
    photo = Photo.read(tmp_path / 'b.jpg')
    np.testing.assert_array_equal(photo.pixels, pyvips.Image.jpegload_buffer(data).numpy())
    assert any('2 stray bytes' in note for note in photo.notes)
    assert photo._source.get_typeof('gainmap-data')


def test_an_ultra_hdr_file_that_lost_something_is_refused(tmp_path):
    data = ultra_hdr(tmp_path / 'a.jpg').read_bytes()
    start, end = scan_of(data), data.index(b'\xff\xd8', 4)
    for changed in (data[:end // 2], data[:start + (end - start) // 2] + b'\xff\xd9' + data[end:]):
        (tmp_path / 'b.jpg').write_bytes(changed)
        with pytest.raises(UserError, match='cannot read the image .*b.jpg'):
            Photo.read(tmp_path / 'b.jpg')


# ---- JPEG files of which the decoder warns ------------------------------------------------------------------------

def at_marker(data, marker, change, start=0):
    position = data.index(bytes([0xff, marker]), start)
    return data[:position] + change + data[position:]


def scan_of(data):
    return data.index(b'\xff\xda')


PLAIN, PROGRESSIVE = encoded('JPEG', quality=90), encoded('JPEG', progressive=True, quality=90)
ODD = {
    'before a table': at_marker(PLAIN, 0xdb, b'\x12\x34'),
    'before the frame': at_marker(PLAIN, 0xc0, b'\x01'),
    'before the second Huffman table': at_marker(PLAIN, 0xc4, b'\x00\x00\x00', PLAIN.index(b'\xff\xc4') + 2),
    'before the scan': at_marker(PLAIN, 0xda, b'\x07' * 16),
    'before the end': PLAIN[:-2] + b'\x12\x34' + PLAIN[-2:],
    'at two places': at_marker(at_marker(PLAIN, 0xdb, b'\x12\x34'), 0xc0, b'\x00'),
    'between scans': at_marker(PROGRESSIVE, 0xc4, b'\x00\x00', scan_of(PROGRESSIVE)),
    'of a progressive file': at_marker(PROGRESSIVE, 0xdb, b'\x12\x34'),
    'fill bytes': at_marker(PLAIN, 0xdb, b'\xff\xff\xff'),
    'no end marker': PLAIN[:-2],
    'a version of JFIF': PLAIN.replace(b'JFIF\0\x01', b'JFIF\0\x09'),
    'parameters of the scan': PLAIN[:scan_of(PLAIN) + 11] + b'\x00\x05\x00' + PLAIN[scan_of(PLAIN) + 14:],
    'parameters and a version': at_marker(PLAIN.replace(b'JFIF\0\x01', b'JFIF\0\x09'), 0xdb, b'\x12\x34'),
    'a colour transform': with_segment(PLAIN, 0xee, b'Adobe' + bytes([0, 100, 0, 0, 0, 0, 7])),
}


@pytest.mark.parametrize('kind', ODD)
def test_whole_pictures_are_read_whatever_the_decoder_says(tmp_path, kind):
    (tmp_path / 'a.jpg').write_bytes(ODD[kind])
    photo = Photo.read(tmp_path / 'a.jpg')
    whole = PROGRESSIVE if kind in ('between scans', 'of a progressive file') else PLAIN
    np.testing.assert_array_equal(photo.pixels, pyvips.Image.new_from_buffer(whole, '').numpy())
    assert all(note.endswith('nothing is missing') for note in photo.notes[-1:])


def test_a_warning_is_told_once(tmp_path):
    (tmp_path / 'a.jpg').write_bytes(ODD['at two places'])
    assert Photo.read(tmp_path / 'a.jpg').notes == ['2 stray bytes were skipped',
                                                    '1 stray byte was skipped; nothing is missing']


def damaged(data, at):
    return data[:at] + bytes([data[at] ^ 0x55, data[at + 1] ^ 0x33]) + data[at + 2:]


RESTART = encoded('JPEG', restart_marker_blocks=1, quality=90)
MIDDLE = (scan_of(PLAIN) + len(PLAIN)) // 2
LOST = {
    'cut': PLAIN[:MIDDLE],
    'cut, with an end': PLAIN[:MIDDLE] + b'\xff\xd9',
    'cut, progressive': PROGRESSIVE[:len(PROGRESSIVE) // 2],
    'cut, progressive, with an end': PROGRESSIVE[:len(PROGRESSIVE) // 2] + b'\xff\xd9',
    'cut, and stray bytes': at_marker(PLAIN, 0xdb, b'\x12\x34')[:MIDDLE] + b'\xff\xd9',
    'a restart marker lost': RESTART.replace(b'\xff\xd2', b'', 1),
    'many stray bytes': at_marker(PLAIN, 0xdb, b'\x12' * 200),
    'a header alone': PLAIN[:scan_of(PLAIN)],
}


@pytest.mark.parametrize('kind', LOST)
def test_pictures_that_lost_something_are_refused(tmp_path, kind):
    (tmp_path / 'a.jpg').write_bytes(LOST[kind])
    with pytest.raises(UserError, match='cannot read the image .*a.jpg'):
        Photo.read(tmp_path / 'a.jpg')


# ---- AVIF and HEIC ------------------------------------------------------------------------------------------------

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def exif(orientation=1):
    found = Image.Exif()
    found[0x0112], found[0x010F] = orientation, 'Maker'
    return found


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


HEIF = ['avif', pytest.param('heic', marks=pytest.mark.skipif(not heif.is_available(), reason='no pillow-heif'))]


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


@pytest.mark.skipif(not heif.is_available(), reason='no pillow-heif')
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
        monkeypatch.setattr(heif, 'is_available', lambda: False)
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


# ---- transparent edges --------------------------------------------------------------------------------------------

@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_the_colour_that_is_seen_is_spread_under_what_is_not(tmp_path, dtype):
    largest = np.iinfo(dtype).max
    rows, columns = np.mgrid[:40, :60]
    inside = (rows - 20) ** 2 + (columns - 30) ** 2 < 144
    array = np.zeros((40, 60, 4), dtype)
    array[inside] = [largest, largest * 3 // 4, 0, largest]
    image = pyvips.Image.new_from_array(array).copy(interpretation='srgb' if dtype == np.uint8 else 'rgb16')
    image.write_to_file(str(tmp_path / 'a.png'))
    photo = Photo.read(tmp_path / 'a.png')
    assert (photo.visible == photo.visible[20, 30]).all() and not photo.pixels[0, 0].any()
    array[..., :3] = np.random.default_rng(0).integers(0, largest, (40, 60, 3))
    pyvips.Image.new_from_array(array).copy(interpretation=image.interpretation).write_to_file(str(tmp_path / 'b.png'))
    photo = Photo.read(tmp_path / 'b.png')
    np.testing.assert_array_equal(photo.visible[inside], photo.pixels[inside])
    seen = {tuple(colour) for colour in photo.pixels[inside]}
    assert {tuple(colour) for colour in photo.visible.reshape(-1, 3)} <= seen
    assert tuple(photo.visible[20, 0]) == tuple(photo.pixels[20, np.flatnonzero(inside[20])[0]])


def test_where_nothing_or_all_is_seen_pixels_are_as_they_are(tmp_path):
    for alpha in (0, 1, 255):
        array = np.dstack([pixels(), np.full((40, 60), alpha, np.uint8)])
        Image.fromarray(array).save(tmp_path / 'a.png')
        photo = Photo.read(tmp_path / 'a.png')
        np.testing.assert_array_equal(photo.visible, photo.pixels)


# ---- the other rows -----------------------------------------------------------------------------------------------

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">caption</x:xmpmeta>'


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'tif', 'webp', 'avif', pytest.param('heic', marks=HEIF[1].marks)])
def test_xmp_is_kept(tmp_path, suffix):
    image = pyvips.Image.new_from_array(pixels()).copy()
    image.set_type(pyvips.GValue.blob_type, 'xmp-data', XMP)
    image.write_to_file(str(tmp_path / 'a.png'))
    photo = Photo.read(tmp_path / 'a.png')
    photo.write(photo.pixels, tmp_path / f'b.{suffix}')
    photo = Photo.read(tmp_path / f'b.{suffix}')
    photo.write(photo.pixels, tmp_path / f'c.{suffix}')
    assert XMP in bytes(Photo.read(tmp_path / f'c.{suffix}')._source.get('xmp-data'))


def test_iptc_of_a_jpeg_is_kept(tmp_path):
    record = b'Photoshop 3.0\0' + b'8BIM\x04\x04\0\0' + struct.pack('>I', 12) + b'\x1c\x02\x78\x00\x07caption'
    photo, out = through(tmp_path, 'a.jpg', with_segment(encoded('JPEG'), 0xed, record))
    assert b'\x1c\x02\x78\x00\x07caption' in out and not photo.notes


@pytest.mark.parametrize('kind, suffix', [('JPEG', 'jpg'), ('PNG', 'png'), ('TIFF', 'tif')])
def test_resolution_is_kept(tmp_path, kind, suffix):
    _, data = through(tmp_path, f'a.{suffix}', encoded(kind, dpi=(300, 300)))
    assert Image.open(io.BytesIO(data)).info['dpi'] == pytest.approx((300, 300), abs=0.1)


@pytest.mark.parametrize('bits', [1, 2, 4, 8])
def test_palettes_become_rgb(tmp_path, bits):
    image = Image.fromarray(pixels()).quantize(2 ** bits)
    photo, data = through(tmp_path, 'a.png', encoded_image(image, bits=bits))
    with Image.open(io.BytesIO(data)) as out:
        assert out.mode == 'RGB'
        np.testing.assert_array_equal(np.asarray(out), np.asarray(image.convert('RGB')))


def encoded_image(image, **options):
    file = io.BytesIO()
    image.save(file, 'PNG', **options)
    return file.getvalue()


@pytest.mark.parametrize('name, data', [(b'tIME', bytes([7, 230, 1, 1, 1, 1, 1])), (b'bKGD', bytes(6)),
                                        (b'abCd', b'x')])
def test_other_chunks_are_left_out(tmp_path, name, data):
    _, out = through(tmp_path, 'a.png', with_chunks(encoded('PNG'), png.chunk(name, data)))
    assert name not in [chunk for chunk, _ in chunks_of(out)]


def test_a_progressive_file_becomes_a_baseline_one(tmp_path):
    assert b'\xff\xc2' in PROGRESSIVE and b'\xff\xc2' not in through(tmp_path, 'a.jpg', PROGRESSIVE)[1]


def test_several_pages_floats_and_cmyk_are_refused(tmp_path):
    pyvips.Image.new_from_array(pixels().astype(np.float32)).copy(interpretation='scrgb').write_to_file(
        str(tmp_path / 'float.tif'))
    Image.new('CMYK', (8, 8)).save(tmp_path / 'cmyk.tif')
    Image.new('RGB', (8, 8)).save(tmp_path / 'pages.tif', save_all=True, append_images=[Image.new('RGB', (8, 8))])
    for name, message in (('float', 'is .* of float'), ('cmyk', 'is cmyk of uchar'), ('pages', 'has 2 pages')):
        with pytest.raises(UserError, match=f'{name}.tif {message}'):
            Photo.read(tmp_path / f'{name}.tif')

"""What PNG files hold besides pixels: carried over, refused, or told. Rows of the table in the docs."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from maxl_sr.errors import UserError
from maxl_sr.formats import png
from maxl_sr.photo import Photo
from tests.formats.photo_files import chunks_of, encoded, exif, pixels, through, with_chunks


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

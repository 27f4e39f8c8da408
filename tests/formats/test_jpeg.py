"""What JPEG files hold besides pixels: carried over, refused, or told. Rows of the table in the docs."""

import io
import struct

import numpy as np
import pytest
import pyvips
from PIL import Image

from maxl_sr.formats import jpeg
from maxl_sr.photo import Photo
from tests.formats.photo_files import encoded, pixels, through, ultra_hdr, with_segment


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

"""Transparent edges, and what is alike in several formats. Rows of the table in the docs."""

import io
import struct

import numpy as np
import pytest
import pyvips
from PIL import Image

from maxl_sr.errors import UserError
from maxl_sr.formats import png
from maxl_sr.photo import Photo
from maxl_sr.restorer import Restorer
from tests.formats.photo_files import HEIF, PROGRESSIVE, chunks_of, encoded, pixels, through, with_chunks, with_segment
from tests.photo_runs import tiny


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


@pytest.mark.parametrize('scale', [1, 4])
def test_hidden_colours_do_not_reach_what_is_seen(tmp_path, scale):
    restorer = Restorer.from_pretrained('sr_x4', 'cpu') if scale == 4 else tiny()
    rows, columns = np.mgrid[:40, :60]
    inside = (rows - 20) ** 2 + (columns - 30) ** 2 < 144
    results = []
    for hidden in (0, 255, 77):
        array = np.full((40, 60, 4), hidden, np.uint8)
        array[..., 3] = 0
        array[inside] = [250, 220, 30, 255]
        Image.fromarray(array).save(tmp_path / 'in.png')
        restorer.restore(tmp_path / 'in.png', tmp_path / 'out.png')
        results.append(np.asarray(Image.open(tmp_path / 'out.png')))
    assert all(np.array_equal(result, results[0]) for result in results)
    seen = results[0][results[0][..., 3] > 0][:, :3].astype(int)
    assert results[0].shape == (40 * scale, 60 * scale, 4)
    if restorer.scale == 4:
        assert np.abs(seen - [250, 220, 30]).max() < 12

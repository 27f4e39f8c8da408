"""Files that are changed at random: read, or refused in a sentence; never anything else."""

import gc
import io
import os
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import pyvips
from PIL import Image, PngImagePlugin

hypothesis = pytest.importorskip('hypothesis')
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from maxl_sr.errors import UserError  # noqa: E402
from maxl_sr.folders import megapixels  # noqa: E402
from maxl_sr.formats import endings, heif, jpeg, png  # noqa: E402
from maxl_sr.photo import Photo  # noqa: E402
from tests.formats.photo_files import with_segment  # noqa: E402

PIXELS = cv2.resize(np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8), (40, 24))


def encoded(kind, array=PIXELS, **options):
    file = io.BytesIO()
    if 'save_all' in options:
        options['append_images'] = [Image.fromarray(255 - array)]
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def exif():
    made = Image.Exif()
    made[0x0112], made[0x010F] = 6, 'Maker'
    return made


def written(suffix, dtype=np.uint16, **options):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f'a{suffix}'
        image = pyvips.Image.new_from_array(PIXELS.astype(dtype) * (257 if dtype == np.uint16 else 1))
        if suffix == '.uhdr.jpg':
            pyvips.Image.new_from_array(PIXELS.astype(np.float32) / 64).copy(interpretation='scrgb').uhdrsave(str(path))
        elif suffix == '.heic':
            heif.write_heic(image.copy(interpretation='srgb'), path, 90)
        else:
            image.copy(interpretation='rgb16').write_to_file(str(path), **options)
        return path.read_bytes()


def text():
    info = PngImagePlugin.PngInfo()
    info.add_itxt('Title', '标题', 'zh', '标题')
    info.add_text('Comment', 'hello', zip=True)
    return info


CHUNKS = b''.join(png.chunk(name, data) for name, data in png.SRGB.items()) + png.chunk(b'cICP', bytes([1, 13, 0, 1]))
FILES = {
    'jpeg': [with_segment(encoded('JPEG', exif=exif()), jpeg.COM, b'comment'), encoded('JPEG', progressive=True),
             encoded('JPEG', restart_marker_blocks=1), encoded('MPO', save_all=True),
             encoded('JPEG', PIXELS[..., 0])],
    'ultra hdr': [written('.uhdr.jpg')],
    'png': [encoded('PNG', pnginfo=text(), exif=exif()), encoded('PNG', np.dstack([PIXELS, PIXELS[..., :1]])),
            written('.png'), encoded('PNG', save_all=True),
            encoded('PNG')[:png.HEADER_END] + CHUNKS + encoded('PNG')[png.HEADER_END:]],
    'tiff': [encoded('TIFF', exif=exif()), written('.tif', compression='lzw'), written('.tif'),
             encoded('TIFF', save_all=True)],
    'webp': [encoded('WEBP', exif=exif()), encoded('WEBP', lossless=True),
             encoded('WEBP', np.dstack([PIXELS, PIXELS[..., :1]])), encoded('WEBP', save_all=True)],
    'avif': [encoded('AVIF', exif=exif()), written('.avif')],
}  # yapf: disable
if endings.has_heic():
    FILES['heic'] = [written('.heic', np.uint8)]
SUFFIX = {'jpeg': '.jpg', 'ultra hdr': '.jpg', 'tiff': '.tif'}
NUMBERS = [b'\0\0\0\0', b'\xff\xff\xff\xff', b'\x7f\xff\xff\xff', b'\0\0\0\1', b'\xff\xd9', b'\xff\xda', b'\0\0',
           b'\1\0']


@st.composite
def changed(draw, files):
    """A file with a few changes: bytes replaced, put in, taken out, repeated, or all from one place on cut off."""
    data = bytearray(draw(st.sampled_from(files)))
    for _ in range(draw(st.integers(1, 4))):
        # Headers are short and matter most
        at = draw(st.one_of(st.integers(0, min(len(data), 200)), st.integers(0, len(data))))
        size = draw(st.integers(0, 20))
        how = draw(st.sampled_from(['bits', 'number', 'in', 'out', 'again', 'cut', 'zeros']))
        if how == 'bits' and at < len(data):
            data[at] ^= draw(st.integers(1, 255))
        elif how == 'number':
            number = draw(st.sampled_from(NUMBERS))
            data[at:at + len(number)] = number
        elif how == 'in':
            data[at:at] = draw(st.binary(min_size=1, max_size=20))
        elif how == 'out':
            del data[at:at + size]
        elif how == 'again':
            data[at:at] = data[max(at - size, 0):at]
        elif how == 'zeros':
            data[at:at + size] = bytes(size)
        elif how == 'cut':
            del data[max(at, 8):]
    return bytes(data)


def read(path):
    """Read a file, and write it once more where it can be read."""
    assert megapixels(path) >= 0
    try:
        photo = Photo.read(path)
    except UserError as error:
        assert path.name in str(error) and '\n' not in str(error)
        return None
    assert photo.pixels.dtype in (np.uint8, np.uint16) and photo.pixels.shape[2] in (1, 3) and photo.pixels.size
    assert photo.visible.shape == photo.pixels.shape
    assert all('\n' not in note for note in (*photo.notes, *photo.losses(path)))
    target = path.with_name(f'out{path.suffix}')
    try:
        photo.write(photo.pixels, target)
    except UserError as error:
        assert target.name in str(error) and not target.exists()
        return photo
    assert Photo.read(target).pixels.shape[2] == photo.pixels.shape[2]
    target.unlink()
    return photo


@pytest.mark.slow
@pytest.mark.parametrize('kind', FILES)
def test_changed_files_are_read_or_refused(tmp_path, kind):
    path = tmp_path / f'a{SUFFIX.get(kind, "." + kind)}'

    @settings(max_examples=80, derandomize=True, deadline=None, database=None,
              suppress_health_check=list(hypothesis.HealthCheck))
    @given(changed(FILES[kind]))
    def check(data):
        path.write_bytes(data)
        read(path)

    check()
    assert sorted(tmp_path.iterdir()) in ([], [path])


def test_warnings_of_images_that_are_freed_meanwhile_are_no_end(tmp_path, capfd):
    """What is freed while a warning is told may warn itself, which ends the process where Python takes the warnings."""
    assert pyvips._log_handler_id is None and os.environ['VIPS_WARNING']
    data = FILES['jpeg'][0]
    at = data.index(b'\xff\xdb')
    path = tmp_path / 'a.jpg'
    path.write_bytes(data[:at] + b'\x12\x34' + data[at:])
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(100):
            garbage = [pyvips.Image.jpegload(str(path), access='sequential', revalidate=True)]
            garbage[0].crop(0, 0, 1, 1).avg()
            garbage.append(garbage)
            del garbage
            assert Photo.read(path).notes == ['2 stray bytes were skipped; nothing is missing']
    finally:
        gc.set_threshold(*threshold)
    assert not any(capfd.readouterr())


@pytest.mark.parametrize('cut', [b'\xff\xfe\xff\xffcomment', b'\xff\xe1\xff\xff' + jpeg.EXTENSION + b'xmp',
                                 b'\xff\xfe\0\x50comment\xff\xd9'], ids=['comment', 'xmp', 'over the end'])
def test_a_cut_segment_is_not_carried_over(tmp_path, cut):
    """Found by fuzzing: in the restored file it took in the picture, which nobody could read then."""
    path = tmp_path / 'a.jpg'
    path.write_bytes(encoded('JPEG')[:-2] + cut)
    assert '(cut) are left out' in read(path).notes[-1]


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.one_of(changed(FILES['jpeg']), st.binary(max_size=300).map(lambda data: b'\xff\xd8' + data)))
def test_segments_of_changed_files(data):
    parts = list(jpeg.segments(data))
    assert all(0 <= part.start < part.end <= len(data) or part.end > len(data) for part in parts)
    extras = jpeg.read(data)
    assert 0 <= extras.behind <= len(data) and extras.pictures >= 1
    for warning in ('2 extraneous bytes before marker 0xdb', 'premature end of JPEG image', 'unknown JFIF revision',
                    'Invalid SOS parameters', 'Unknown Adobe color transform'):
        assert all(isinstance(mended, bytes) for mended, _ in jpeg.mended(data, warning))
    jpeg.with_comments(data, [b'\xff\xfe\0\2'])

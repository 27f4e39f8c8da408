"""JPEG files of which the decoder warns: read where the picture is whole, refused where something is lost."""

import numpy as np
import pytest
import pyvips

from maxl_sr.errors import UserError
from maxl_sr.photo import Photo
from tests.formats.photo_files import PLAIN, PROGRESSIVE, at_marker, encoded, scan_of, ultra_hdr, with_segment


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

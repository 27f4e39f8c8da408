"""Photographs as bytes, for the tests of what files keep."""

import io
import struct

import cv2
import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms

from maxl_sr.formats import endings, png
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


def ultra_hdr(path):
    linear = cv2.resize(np.random.default_rng(0).random((6, 8, 3)).astype(np.float32) * 4, (96, 64))
    pyvips.Image.new_from_array(linear).copy(interpretation='scrgb').uhdrsave(str(path))
    return path


def at_marker(data, marker, change, start=0):
    position = data.index(bytes([0xff, marker]), start)
    return data[:position] + change + data[position:]


def scan_of(data):
    return data.index(b'\xff\xda')


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def exif(orientation=1):
    found = Image.Exif()
    found[0x0112], found[0x010F] = orientation, 'Maker'
    return found


PLAIN, PROGRESSIVE = encoded('JPEG', quality=90), encoded('JPEG', progressive=True, quality=90)
HEIF = ['avif', pytest.param('heic', marks=pytest.mark.skipif(not endings.has_heic(), reason='no pillow-heif'))]

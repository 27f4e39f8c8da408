"""PNG: chunks that libvips drops or garbles."""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

SIGNATURE = b'\x89PNG\r\n\x1a\n'
HEADER_END = len(SIGNATURE) + 25  # IHDR comes first, and is of one length
COLOUR = (b'cICP', b'gAMA', b'cHRM', b'sRGB', b'mDCV', b'cLLI')
TEXT = (b'tEXt', b'zTXt', b'iTXt')
LARGEST = 2 ** 26  # bytes of such a chunk; libpng's own limit for text is smaller
SRGB = {b'gAMA': struct.pack('>I', 45455),
        b'cHRM': struct.pack('>8I', 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)}


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk: length, name, data and checksum."""
    return struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))


@dataclass(frozen=True)
class PngExtras:
    """What a PNG file holds besides its pixels.

    Attributes:
        frames: Number of pictures; more than one in an animation.
        colour: Chunks that say what its values mean, whole.
        text: Chunks of text, whole; XMP is among them.
    """

    frames: int = 1
    colour: list[bytes] = field(default_factory=list)
    text: list[bytes] = field(default_factory=list)

    @property
    def changes_colour(self) -> list[str]:
        """Names of the chunks without which the colours would be others than those of sRGB."""
        return [name.decode() for name, data in ((part[4:8], part[8:-4]) for part in self.colour)
                if name != b'sRGB' and SRGB.get(name) != data]


def _chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Yield names and data of the chunks that matter here; a file that is cut ends the list."""
    with open(path, 'rb') as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return
        while len(head := file.read(8)) == 8:
            length, name = struct.unpack('>I4s', head)
            if file.tell() + length + 4 > size:
                return
            if name in (*COLOUR, *TEXT, b'acTL') and length <= LARGEST:
                yield name, file.read(length)
                file.seek(4, os.SEEK_CUR)
            else:
                file.seek(length + 4, os.SEEK_CUR)


def read(path: Path) -> PngExtras:
    """Return what a PNG file holds besides its pixels."""
    frames, colour, text = 1, [], []
    for name, data in _chunks(path):
        if name == b'acTL' and len(data) == 8:
            frames = struct.unpack('>I', data[:4])[0]
        elif name in COLOUR:
            colour.append(chunk(name, data))
        elif name in TEXT:
            text.append(chunk(name, data))
    return PngExtras(frames, colour, text)


def with_extras(data: bytes, extras: PngExtras) -> bytes:
    """Return a PNG file with these chunks put behind its header."""
    return data[:HEADER_END] + b''.join(extras.colour + extras.text) + data[HEADER_END:]

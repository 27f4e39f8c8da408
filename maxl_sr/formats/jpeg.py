"""JPEG: comments, further pictures, and files whose decoder warns although nothing is missing."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

STRAY = 16  # bytes between segments that are skipped; more are lost data
FIXES = 8  # in one file
EXTENSION = b'http://ns.adobe.com/xmp/extension/\0'
SOI, EOI, SOS, COM, APP0 = 0xd8, 0xd9, 0xda, 0xfe, 0xe0
# Segments that libvips carries over, or that are about the coding alone, by their first bytes
KNOWN = {0: (b'JFIF\0', b'JFXX\0'), 1: (b'Exif\0', b'http://ns.adobe.com/xap/1.0/\0', EXTENSION),
         2: (b'ICC_PROFILE\0', b'MPF\0', b'urn:iso:std:iso:ts:21496:-1\0'), 13: (b'Photoshop 3.0\0', ),
         14: (b'Adobe', )}
_MARKER = re.compile(rb'\xff+([^\x00\xff\xd0-\xd7])', re.DOTALL)  # in coded data


@dataclass(frozen=True)
class Segment:
    """A marker, where it begins and ends with what belongs to it, and its payload."""

    marker: int
    start: int
    end: int
    payload: bytes


@dataclass(frozen=True)
class JpegExtras:
    """What a JPEG file holds besides its picture.

    Attributes:
        comments: Comments, and the further parts of a long XMP: segments, whole.
        pictures: Number of pictures that its index lists; 1 without one.
        behind: Bytes after the end of the picture, which no index lists.
        segments: Names of segments that are not carried over.
    """

    comments: list[bytes] = field(default_factory=list)
    pictures: int = 1
    behind: int = 0
    segments: list[str] = field(default_factory=list)


def segments(data: bytes) -> Iterator[Segment]:
    """Yield the segments of the first picture, up to its end; what is no segment is passed over, as decoders do."""
    position = 0
    while (found := _MARKER.search(data, position)) is not None:
        marker, start, end = found[1][0], found.end() - 2, found.end()
        if marker not in (SOI, EOI, 0x01):
            if end + 2 > len(data):
                return
            length = struct.unpack('>H', data[end:end + 2])[0]
            end += max(length, 2)
        yield Segment(marker, start, end, data[found.end() + 2:end])
        if marker == EOI:
            return
        position = end


def _pictures(index: bytes) -> int:
    """Return the number of pictures that the payload of a multi-picture index (MPF) tells; 1 where it tells none."""
    tiff = index[4:]
    order = {b'II': '<', b'MM': '>'}.get(tiff[:2])
    try:
        if order is None:
            return 1
        offset = struct.unpack(f'{order}I', tiff[4:8])[0]
        for entry in range(struct.unpack(f'{order}H', tiff[offset:offset + 2])[0]):
            at = offset + 2 + 12 * entry
            if struct.unpack(f'{order}H', tiff[at:at + 2])[0] == 0xb001:
                value: int = struct.unpack(f'{order}I', tiff[at + 8:at + 12])[0]
                return value
    except struct.error:
        pass
    return 1


def read(data: bytes) -> JpegExtras:
    """Return what a JPEG file holds besides its picture."""
    comments, pictures, end, lost = [], 1, len(data), []
    for segment in segments(data):
        number, payload = segment.marker - APP0, segment.payload
        if segment.end > len(data):  # cut: carried over, it would take in what follows it
            if segment.marker == COM or 0 <= number < 16:
                lost.append('COM (cut)' if segment.marker == COM else f'APP{number} (cut)')
        elif segment.marker == COM or payload.startswith(EXTENSION) and number == 1:
            comments.append(data[segment.start:segment.end])
        elif number == 2 and payload.startswith(b'MPF\0'):
            pictures = max(_pictures(payload), 1)
        elif 0 <= number < 16 and not payload.startswith(KNOWN.get(number, ())) and f'APP{number}' not in lost:
            lost.append(f'APP{number}')
        elif segment.marker == EOI:
            end = segment.end
    behind = len(data[end:].rstrip(b'\0\xff')) if pictures == 1 else 0
    return JpegExtras(comments, pictures, behind, lost)


def with_comments(data: bytes, comments: list[bytes]) -> bytes:
    """Return a JPEG file with these segments put behind those of the application."""
    end = next((segment.start for segment in segments(data) if segment.marker != SOI
                and not APP0 <= segment.marker < APP0 + 16), 2)
    return data[:end] + b''.join(comments) + data[end:]


def _without_stray(data: bytes, count: int, marker: int) -> Iterator[bytes]:
    """Yield the file without the `count` bytes before a marker, for each place where they may be."""
    end, coded = 0, False  # of the segment before, and whether it is coded data, whose end only the decoder knows
    for segment in segments(data):
        if segment.marker == marker and (coded or segment.start - end == count):
            yield data[:segment.start - count] + data[segment.start:]
        end, coded = segment.end, segment.marker == SOS


def mended(data: bytes, warning: str) -> Iterator[tuple[bytes, str]]:
    """Yield the file without what the decoder warned of, where that is harmless, and what was done; the first that
    decodes further is the right one.

    The decoder tells its first warning only. So what it warned of is taken away, and the file decoded once more: what
    comes after it is told then. Nothing is made up: a file with data lost still has its warning.

    Args:
        data: The file.
        warning: What the decoder said.
    """
    stray = re.search(r'(\d+) extraneous bytes before marker 0x([0-9a-f]{2})', warning)
    if stray is not None and int(stray[1]) <= STRAY:
        for changed in _without_stray(data, int(stray[1]), int(stray[2], 16)):
            yield changed, '1 stray byte was skipped' if stray[1] == '1' else f'{stray[1]} stray bytes were skipped'
    elif 'premature end of JPEG image' in warning or 'Premature end of JPEG file' in warning:
        yield data + bytes([0xff, EOI]), 'it lacks its end marker alone'
    elif 'unknown JFIF revision' in warning:
        at = data.find(b'JFIF\0')
        yield data[:at + 5] + b'\x01\x02' + data[at + 7:], 'it says a strange version of JFIF'
    elif 'Invalid SOS parameters' in warning:
        scan = next((segment for segment in segments(data) if segment.marker == SOS), None)
        if scan is not None and scan.payload:
            yield data[:scan.end - 3] + b'\x00\x3f\x00' + data[scan.end:], 'it says strange parameters of its scan'
    elif 'Unknown Adobe color transform' in warning:
        at = data.find(b'Adobe', data.find(b'\xff\xee'))
        yield data[:at + 11] + b'\x01' + data[at + 12:], 'it says a strange colour transform'

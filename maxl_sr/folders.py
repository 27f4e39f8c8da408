"""The photographs of a folder, and what there is besides."""

import mimetypes
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyvips

from maxl_sr.formats.endings import suffixes
from maxl_sr.utils.files import check_file

# Images, whether or not the machine knows their endings
OTHERS = ('.avif', '.bmp', '.gif', '.heic', '.heif', '.jfif', '.jpe', '.jp2', '.j2k', '.jxl', '.jxr', '.psd', '.tga',
          '.exr', '.hdr', '.ppm', '.pgm', '.pnm', '.svg', '.dng', '.cr2', '.cr3', '.nef', '.arw', '.orf', '.rw2',
          '.raf', '.mpo')


def is_image(path: Path) -> bool:
    """Return whether a file is an image by its ending."""
    kind = mimetypes.guess_type(path.name)[0]
    return kind is not None and kind.startswith('image/') or path.suffix.lower() in OTHERS


@dataclass
class Found:
    """What is in a folder and its sub-folders.

    Attributes:
        files: The photographs, by name.
        skipped: How many images of each other ending, and what else is passed over.
    """

    files: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def told(self) -> str:
        """Return what is skipped in words; nothing where nothing is."""
        parts = [f"{number} {kind}{'s' * (number > 1 and not kind.startswith('.'))}"
                 for kind, number in sorted(self.skipped.items())]
        return f"skipped: {', '.join(parts)}" if parts else ''


def find(path: Path) -> Found:
    """Return the photographs of a folder and its sub-folders but hidden ones; of a file, itself.

    Folders that are links are not followed: they may lead in a circle, or to the same photographs once more.
    """
    found = Found()
    if not path.is_dir():
        found.files.append(path)
        return found

    def unreadable(_: OSError) -> None:
        found.skipped['unreadable folder'] += 1

    for folder, folders, names in os.walk(path, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith('.')]
        found.skipped['linked folder'] += sum(os.path.islink(os.path.join(folder, name)) for name in folders)
        for name in names:
            file = Path(folder, name)
            suffix = file.suffix.lower()
            if name.startswith('.'):
                continue
            if suffix in suffixes():
                if file.is_file():
                    found.files.append(file)
                else:
                    found.skipped['special file' if os.path.exists(file) else 'broken link'] += 1
            elif is_image(file):
                found.skipped[suffix] += 1
    found.files.sort()
    found.skipped = +found.skipped
    return found


def photos(path: Path) -> list[Path]:
    """Return the photographs of :func:`find`."""
    return find(path).files


def megapixels(path: Path) -> float:
    """Return the size of the image of a file by its header; 0 where it cannot be read."""
    try:
        check_file(path)
        image = pyvips.Image.new_from_file(str(path), access='sequential', revalidate=True)
    except (pyvips.Error, ValueError):  # UnicodeError among them
        return 0
    return image.width * image.height / 1e6

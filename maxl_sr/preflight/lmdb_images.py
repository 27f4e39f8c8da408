"""An LMDB of images: whether it is whole, and holds what its list says."""

import json
import re
import signal
import stat
import subprocess
import sys
from os import path as osp
from pathlib import Path

from maxl_sr.errors import UserError
from maxl_sr.utils import lmdb_probe

Size = tuple[int, int]
LINE = re.compile(r'([^.]+)\.\S+ \((\d+),(\d+),\d+\)(?: \d+)?')


def check_files(where: str, root: str) -> None:
    """Refuse a folder that lacks one of the two files of an LMDB, or has something else in its place."""
    if not root.endswith('.lmdb'):
        raise UserError(f'{where}: {root} does not end in .lmdb, but io_backend is lmdb')
    for name in ('meta_info.txt', 'data.mdb'):
        path = osp.join(root, name)
        if not osp.exists(path):
            raise UserError(f'{where}: the LMDB {root} has no {name}')
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise UserError(f'{where}: {path} is no file')


def listed_sizes(root: str) -> dict[str, Size]:
    """Return width and height of every image by its key, from ``meta_info.txt``."""
    path = osp.join(root, 'meta_info.txt')
    try:
        lines = Path(path).read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f'cannot read {path}: {error}') from error
    sizes: dict[str, Size] = {}
    for line in lines:
        match = LINE.fullmatch(line)
        if match is None:
            raise UserError(f"{path}: cannot read the line {line.strip()[:80]!r}; it must be 'NAME.png (height,width,"
                            "channels) level'")
        if not match[1].isascii():
            raise UserError(f'{path}: {match[1]!r} is no key that BasicSR can read: it must be ASCII')
        if match[1] in sizes:
            raise UserError(f"{path} lists '{match[1]}' twice")
        sizes[match[1]] = int(match[3]), int(match[2])
    if not sizes:
        raise UserError(f'{path} lists no images')
    return sizes


def lmdb_sizes(root: str) -> dict[str, Size]:
    """Return width and height of every image by its key, after a look at all of them.

    Raises:
        UserError: The LMDB is cut or damaged, or its list does not fit it.
    """
    sizes = listed_sizes(root)
    probe = subprocess.run([sys.executable, lmdb_probe.__file__, root], input='\n'.join(sizes).encode(),
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if probe.returncode < 0:
        if -probe.returncode in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            raise UserError(f'the look into the LMDB {root} was ended by {signal.Signals(-probe.returncode).name}')
        raise UserError(f'the LMDB {root} is damaged: its data.mdb cannot be read')
    found = json.loads(probe.stdout or b'{"error": "its data.mdb cannot be read"}')
    if 'error' in found:
        raise UserError(f"cannot open the LMDB {root}: {found['error']}")
    for (key, size), held in zip(sizes.items(), found['sizes']):
        if held is None:
            raise UserError(f"{root}/meta_info.txt names '{key}', which the LMDB does not hold")
        if held is False:
            raise UserError(f"cannot read the image '{key}' of the LMDB {root}: unknown format, several pages, "
                            'damaged or truncated')
        if tuple(held) != size:
            raise UserError(f"the LMDB {root}: '{key}' is {held[0]}×{held[1]} pixels, but its meta_info.txt says "
                            f'{size[0]}×{size[1]}')
    if found['images'] != len(sizes):
        raise UserError(f"the LMDB {root} holds {found['images']} images, but its meta_info.txt lists {len(sizes)}")
    return sizes

"""The option files and weights that come with the package."""

import os
from pathlib import Path

from maxl_sr.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]


def option_folder() -> Path:
    """Return the folder of the option files that come with the package."""
    installed = PACKAGE / 'options'
    return installed if installed.is_dir() else PACKAGE.parent / 'options'


def find_option_file(name: str) -> str:
    """Return `name` if it is a file, else the option file of the package of that name (``options/`` may lead it).

    Raises:
        UserError: There is neither; the message lists the package's files.
    """
    if os.path.isfile(name):
        return name
    folder = option_folder()
    packaged = folder / name.removeprefix('options/')
    if packaged.is_file():
        return str(packaged)
    known = ', '.join(sorted(f'options/{path.relative_to(folder).as_posix()}' for path in folder.rglob('*.yml')))
    raise UserError(f'-opt: there is no file {name}; the package brings {known}')


def find_weights(name: str) -> str:
    """Return the path of the package's weights of that name, ``weights/NAME.pth``, or `name` itself if it is a file.

    Raises:
        UserError: It is neither, but begins with ``weights/``; the message lists what there is.
    """
    packaged = {f'weights/{path.name}': path for path in sorted((PACKAGE / 'weights').glob('*.pth'))}
    if os.path.isfile(name) or not name.startswith('weights/'):
        return name
    if name not in packaged:
        raise UserError(f'path: there are no weights {name}; the package brings {", ".join(packaged)}')
    return str(packaged[name])

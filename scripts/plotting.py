"""What the scripts that draw share."""

from pathlib import Path
from typing import Any

from maxl_sr.errors import UserError
from maxl_sr.utils.files import replacing


def pyplot() -> Any:
    """Return ``matplotlib.pyplot``, which draws into files alone.

    Raises:
        UserError: It is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise UserError('drawing needs pip install matplotlib') from error
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    return plt


def save(figure: Any, path: Path, **options: Any) -> None:
    """Write a figure, whole or not at all, in the format of its name; `options` are those of ``savefig``.

    Raises:
        UserError: There is no such format, or a folder of that name.
    """
    known = figure.canvas.get_supported_filetypes()
    if path.suffix[1:] not in known:
        raise UserError(f'{path}: a picture ends in one of {", ".join(sorted(known))}')
    if path.is_dir():
        raise UserError(f'{path} is a folder, not a picture')
    with replacing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:], **options)
    pyplot().close(figure)

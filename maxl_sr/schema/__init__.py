"""The JSON Schema of the option files, by which editors complete and check them.

:mod:`~maxl_sr.schema.generate` makes it of the models; what comes with the package is that, and is read without torch.
"""

from pathlib import Path

from maxl_sr.utils.packaged import option_folder

NAME = 'options.schema.json'


def schema_file() -> Path:
    """Return the schema that comes with the package; it lies above the option files, which name it by this place."""
    return option_folder() / NAME


"""Files that are there whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a hidden file beside `path`, with its ending, that takes its place if no error comes."""
    partial = path.with_name(f'.{uuid.uuid4().hex}.partial{path.suffix}')
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink()

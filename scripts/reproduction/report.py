"""The page of the figures, made of the JSON files alone."""
from pathlib import Path


def write_report(folder: Path, page: Path) -> None:
    raise NotImplementedError

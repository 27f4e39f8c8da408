"""Kinds of arguments that several commands take; argparse names them by their functions."""

import argparse
import math


def positive_number(text: str) -> float:
    """Return an argument that must be greater than 0."""
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f'must be greater than 0, not {text}')
    return value


def count(text: str) -> int:
    """Return an argument that must be an integer of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'must be at least 0, not {text}')
    return value

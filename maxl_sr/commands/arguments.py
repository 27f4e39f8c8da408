"""Kinds of arguments that several commands take; argparse names them by their functions."""

import argparse
import math

PRECISIONS = ('auto', 'float32', 'bfloat16', 'float16')  # of maxl_sr.restore.precision, which takes torch


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


def add_computing(parser: argparse.ArgumentParser) -> None:
    """Add where, and in which number format, networks are computed."""
    parser.add_argument('--device', default='auto', help='cpu, cuda, … (default: a GPU where there is one)')
    parser.add_argument('--precision', choices=PRECISIONS, default='auto',
                        help='number format of the computation (default: the one in which the device is fastest)')

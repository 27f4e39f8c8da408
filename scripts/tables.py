"""What the scripts that print Markdown tables share."""

from collections.abc import Iterable


def head(cells: Iterable[str]) -> str:
    """Return the head of a table and the rule below it."""
    cells = list(cells)
    return f'| {" | ".join(cells)} |\n{"|---" * len(cells)}|'


def signed(value: float, digits: int = 2) -> str:
    """Return a gain with its sign, without −0."""
    return f'{round(float(value), digits) + 0.0:+.{digits}f}'.replace('-', '−')

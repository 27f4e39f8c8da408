"""The progress of a run over files: a bar in a terminal, lines in a log, and one closing line in both."""

import sys
import time
from contextlib import suppress

from tqdm import tqdm

BAR = '{desc} |{bar}| {n:.1f} of {total:.1f} MP, {rate_noinv_fmt}, {remaining} left{postfix}'


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def tell(text: str) -> None:
    """Write a line to the standard error; a reader of it who has left does not end the run."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


class Progress:
    """Tells on the standard error where a run is.

    Args:
        sizes: Megapixels of the images.
        skipped: How many other images are done already.
    """

    def __init__(self, sizes: list[float], skipped: int = 0) -> None:
        self.number, self.restored, self.failed = 0, 0, 0
        self._sizes, self._skipped = sizes, skipped
        self._start, self._done = time.monotonic(), 0.0
        self._name = ''
        self._bar = tqdm(total=sum(sizes), unit='MP', bar_format=BAR) if sizes and _is_terminal() else None

    def begin(self, name: str) -> None:
        """Go on to the next image."""
        self.number += 1
        self._name = f'image {self.number} of {len(self._sizes)}, {name}'
        if self._bar is not None:
            self._bar.set_description_str(self._name)

    def step(self, step: int, _: float) -> None:
        """Tell that a step of adaptation was taken."""
        if self._bar is not None:
            self._bar.set_postfix_str(f'step {step}')

    def write(self, text: str) -> None:
        """Write a line."""
        if self._bar is None:
            tell(text)
        else:
            self._bar.write(text, file=sys.stderr)

    def end(self, whole: bool) -> None:
        """Tell that the image is done, or could not be restored."""
        self.restored += whole
        self.failed += not whole
        size, total = self._sizes[self.number - 1], sum(self._sizes)
        self._done += size
        if self._bar is not None:
            self._bar.set_postfix_str('', refresh=False)
            self._bar.update(size)
            return
        seconds = time.monotonic() - self._start
        rate = self._done / seconds if seconds > 0 else 0
        left = tqdm.format_interval((total - self._done) / rate) if rate > 0 else '00:00'
        self.write(f'{self._name}: {self._done:.1f} of {total:.1f} MP, {rate:.2f} MP/s, {left} left')

    def close(self, reason: str = '') -> None:
        """Write the closing line.

        Args:
            reason: Why the run ended before all images were done.
        """
        if self._bar is not None:
            self._bar.close()
        told = f': {self.failed} of {len(self._sizes)} images could not be restored' if self.failed else ''
        if reason:
            told += f'; {reason}'
        tell(f'restored {self.restored}, skipped {self._skipped}, failed {self.failed}, '
             f'{time.monotonic() - self._start:.1f} s{told}')

"""Data sets and loaders: an item that cannot be made is named, and a thread that fails is heard."""

import functools
import sys
from collections.abc import Callable
from typing import Any

import basicsr.data as basicsr_data
from basicsr.data.prefetch_dataloader import PrefetchGenerator
from torch.utils.data import DataLoader, Dataset

from maxl_sr.errors import UserError
from maxl_sr.toolbox.seams import replace_everywhere


class NamedItems(Dataset[Any]):
    """A data set whose errors name the item, and which knows the item that it gave last.

    Attributes:
        last: Path of that item; None before the first.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset
        self.opt = dataset.opt  # type: ignore[attr-defined]
        self.last: str | None = None

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset':  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: Any) -> Any:
        self.last = self._name(index)
        try:
            item = self.dataset[index]
        except (UserError, MemoryError):
            raise
        except Exception as error:
            text = ' '.join(str(error).split()) or type(error).__name__
            raise UserError(f"datasets: {self.opt['phase']}: cannot make an item of {self.last}: {text}") from error
        path = item.get('lq_path', item.get('gt_path')) if isinstance(item, dict) else None
        self.last = path if isinstance(path, str) else self.last
        return item

    def _name(self, index: Any) -> str:
        dataset: Any = self.dataset
        if isinstance(index, tuple):  # of a training: the position comes first
            dataset, index = dataset.dataset, index[1]
        try:
            item = dataset.paths[index]
        except (AttributeError, LookupError, TypeError):
            return f'number {index}'
        return ' and '.join(map(str, item.values())) if isinstance(item, dict) else str(item)


def _install_loader() -> None:
    original: Callable[..., DataLoader[Any]] = basicsr_data.build_dataloader

    @functools.wraps(original)
    def build_dataloader(dataset: Dataset[Any], dataset_opt: dict[str, Any], **kwargs: Any) -> DataLoader[Any]:
        return original(NamedItems(dataset), dataset_opt, **kwargs)

    replace_everywhere(original, build_dataloader)


def _install_prefetch() -> None:
    run, take = PrefetchGenerator.run, PrefetchGenerator.__next__

    def run_and_tell(self: Any) -> None:
        try:
            run(self)
        except BaseException as error:
            self.error = error
            self.queue.maxsize = 0  # there is room for the end in any case
            self.queue.put(None)

    def take_or_raise(self: Any) -> Any:
        try:
            return take(self)
        except StopIteration:
            error = getattr(self, 'error', None)
            if error is not None:
                raise error from None
            raise

    PrefetchGenerator.run, PrefetchGenerator.__next__ = run_and_tell, take_or_raise


def _install_quiet_end() -> None:
    """A loader that is taken down after a failure fails again where nobody can catch it: that was told already."""
    original = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if getattr(unraisable.object, '__qualname__', '') != '_MultiProcessingDataLoaderIter.__del__':
            original(unraisable)

    sys.unraisablehook = hook


_install_loader()
_install_prefetch()
_install_quiet_end()

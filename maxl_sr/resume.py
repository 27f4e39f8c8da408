"""Trainings that can be repeated and resumed exactly: every draw depends on the seed and the position alone.

BasicSR starts an interrupted epoch again from its first image, and its workers draw the same random numbers in every
epoch. Here the sampler hands out the position of a sample in the training with its index, a resumed sampler goes on
behind the last iteration, and whatever a data set draws (crop, flip, noise) is seeded by that position, for every data
set of the toolbox, any number of workers and any number of processes. It needs ``manual_seed`` in the option file.
"""

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import basicsr.data as basicsr_data
import basicsr.train as basicsr_train
from basicsr.data.data_sampler import EnlargedSampler
from torch.utils.data import DataLoader, Dataset

from maxl_sr.toolbox.seams import replace_everywhere
from maxl_sr.utils.seeding import seeded

Position = tuple[int, int]


class PositionSampler(EnlargedSampler):
    """``EnlargedSampler`` that yields ``((epoch, position), index)`` and goes on where a resumed training stopped.

    An epoch is filled up to whole batches: BasicSR counts its last batch, but its loader drops an incomplete one, so
    that a training on few images would end before ``total_iter``.
    """

    def __init__(self, dataset: Any, num_replicas: int, rank: int, ratio: int = 1) -> None:
        super().__init__(dataset, num_replicas, rank, ratio)
        batch_size = dataset.opt['batch_size_per_gpu']
        self.num_samples = math.ceil(len(self) / batch_size) * batch_size
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[tuple[Position, int]]:
        resume = self.dataset.opt.get('resume_from')
        skip = 0
        if resume is not None and resume['epoch'] == self.epoch:
            iterations = resume['iter'] - resume['epoch'] * (self.num_samples // resume['batch_size'])
            skip = iterations * resume['batch_size']
        for step, index in enumerate(super().__iter__()):
            if step >= skip:
                yield (self.epoch, step * self.num_replicas + self.rank), index


class SeededDataset(Dataset[Any]):
    """A data set whose items, asked for by ``((epoch, position), index)``, are drawn from (seed, epoch, position)."""

    def __init__(self, dataset: Dataset[Any], seed: int) -> None:
        self.dataset = dataset
        self.opt = dataset.opt  # type: ignore[attr-defined]
        self.seed = seed

    def __getitem__(self, key: tuple[Position, int]) -> Any:
        position, index = key
        with seeded(self.seed, *position):
            return self.dataset[index]

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]


def go_on_from(opt: dict[str, Any], state: Mapping[str, Any]) -> None:
    """Let the sampler of the training data go on behind the iteration of a training state."""
    train = opt['datasets']['train']
    processes = 1 if opt['dist'] else max(opt['num_gpu'], 1)
    train['resume_from'] = dict(epoch=state['epoch'], iter=state['iter'],
                                batch_size=train['batch_size_per_gpu'] * processes)


def _install() -> None:
    build_dataloader: Callable[..., DataLoader[Any]] = basicsr_data.build_dataloader
    load_resume_state: Callable[[dict[str, Any]], dict[str, Any] | None] = basicsr_train.load_resume_state

    @functools.wraps(build_dataloader)
    def seeded_dataloader(dataset: Dataset[Any], dataset_opt: dict[str, Any], seed: int | None = None,
                          **kwargs: Any) -> DataLoader[Any]:
        if dataset_opt['phase'] == 'train':
            dataset = SeededDataset(dataset, seed or 0)
        loader = build_dataloader(dataset, dataset_opt, seed=seed, **kwargs)
        if dataset_opt['phase'] == 'train':
            dataset_opt['epoch_iterations'] = len(loader)  # for alternate_every: epoch
        return loader

    @functools.wraps(load_resume_state)
    def load_with_position(opt: dict[str, Any]) -> dict[str, Any] | None:
        state = load_resume_state(opt)
        if state is not None:
            go_on_from(opt, state)
        return state

    # Everywhere: a script may have BasicSR's loop in a copy
    replace_everywhere(build_dataloader, seeded_dataloader)
    replace_everywhere(EnlargedSampler, PositionSampler)
    basicsr_train.load_resume_state = load_with_position


_install()

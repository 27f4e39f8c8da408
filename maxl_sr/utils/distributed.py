"""Tensors of several processes."""

import os
import time
import uuid
from typing import Any

import torch
from torch import Tensor
from torch.distributed import PrefixStore, TCPStore
from torch.utils.data import DataLoader

BUCKET = 25 * 2**20  # bytes in one message: large enough to hide its latency, small enough to overlap with the next


def agreed_store(rank: int, world_size: int, seconds: float = 600.) -> PrefixStore:
    """Return the store of torchrun for this start of the processes, without what an earlier start has left in it.

    After a restart torchrun hands out the same store, in which the addresses of dead processes still stand. Here each
    process leaves a word of its own, the first one puts them together, and all go on under that name when each has
    found its word in it.

    Raises:
        DistStoreError: Not all processes have come in time.
    """
    store = TCPStore(os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT']), world_size, is_master=False)
    own, until = uuid.uuid4().hex, time.monotonic() + seconds
    store.set(f'word/{rank}', own)
    while time.monotonic() < until:
        if rank == 0:
            words = [_read(store, f'word/{other}') for other in range(world_size)]
            name = '/'.join(words)
            store.set('words', name)
            if all(_read(store, f'found/{other}') == name for other in range(1, world_size)):
                store.set('begun', name)
                return PrefixStore(name, store)
        else:
            name = _read(store, 'words')
            if own in name.split('/'):
                store.set(f'found/{rank}', name)
                if _read(store, 'begun') == name:
                    return PrefixStore(name, store)
        time.sleep(0.02)
    raise torch.distributed.DistStoreError(f'after {seconds:.0f} s not all {world_size} processes are there')


def _read(store: TCPStore, key: str) -> str:
    return store.get(key).decode() if store.check([key]) else ''


def leave() -> None:
    """Leave the process group, as the last thing that a process does.

    A thread of gloo drops the tensors of its last message, for which it needs the interpreter. A process that ends
    first is aborted ("terminate called without an active exception"). Asleep, it lets the thread have its turn.
    """
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
        time.sleep(0.1)


def broadcast(tensors: list[Tensor]) -> None:
    """Give the tensors of all processes the values of the first one."""
    for tensor in tensors:
        torch.distributed.broadcast(tensor, src=0)


def all_reduce(tensors: list[Tensor], mean: bool) -> None:
    """Replace the tensors by their mean (or sum) over all processes, in place, in buckets."""
    buckets: list[list[Tensor]] = []
    room = 0
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        if size > room or buckets[-1][0].dtype != tensor.dtype:
            buckets.append([])
            room = BUCKET
        buckets[-1].append(tensor)
        room -= size
    flat = [torch.cat([tensor.reshape(-1) for tensor in bucket]) for bucket in buckets]
    for work in [torch.distributed.all_reduce(message, async_op=True) for message in flat]:
        work.wait()
    for bucket, message in zip(buckets, flat):
        if mean:
            message /= torch.distributed.get_world_size()
        for tensor, part in zip(bucket, message.split([tensor.numel() for tensor in bucket])):
            tensor.copy_(part.view_as(tensor))


class Shard:
    """The share of a data set that one process validates: every ``world_size``-th image, beginning with its rank.

    A process for which none is left restores the first image all the same, since it takes part in the gathering;
    its `weight` is 0.
    """

    def __init__(self, loader: DataLoader[Any], rank: int, world_size: int) -> None:
        count = len(loader.dataset)  # type: ignore[arg-type]
        own = list(range(rank, count, world_size))
        self.weight = len(own) / count
        self.loader = DataLoader(loader.dataset, batch_size=1, sampler=own or [0], pin_memory=loader.pin_memory)

    def mean(self, value: float, device: torch.device) -> float:
        """Return the mean over all images from the mean over those of each process."""
        total = torch.tensor(value * self.weight if self.weight else 0.0, dtype=torch.float64, device=device)
        torch.distributed.all_reduce(total)
        return total.item()

    def gather(self, rows: list[Any]) -> list[Any]:
        """Return the rows of all images, one each, in the order of the data set."""
        shares: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(shares, rows if self.weight else [])
        longest = max(len(share) for share in shares)
        return [share[turn] for turn in range(longest) for share in shares if turn < len(share)]

"""Tensors of several processes."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

BUCKET = 25 * 2**20  # bytes in one message: large enough to hide its latency, small enough to overlap with the next


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

    def __init__(self, loader: DataLoader, rank: int, world_size: int) -> None:
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

"""The end of a process that was one of a group."""

import sys

import pytest
import torch

from maxl_sr.utils import distributed


def last_message(rank, rendezvous, kept=[]):  # noqa: B006  (outlives the call, as the group of a model does)
    """Send a message and end at once; the interpreter is not handed over on the way."""
    torch.set_num_threads(1)
    sys.setswitchinterval(100)
    torch.distributed.init_process_group('gloo', init_method=f'file://{rendezvous}', rank=rank, world_size=2)
    messages = [torch.stack([torch.ones(3)]) for _ in range(4)]
    for work in [torch.distributed.reduce(message, dst=0, async_op=True) for message in messages]:
        work.wait()
    del work
    kept += [messages, torch.distributed.distributed_c10d._get_default_group()]
    distributed.leave()


@pytest.mark.slow
def test_process_that_ends_after_its_last_message_is_not_aborted(tmp_path):
    for turn in range(4):
        torch.multiprocessing.spawn(last_message, (tmp_path / str(turn),), nprocs=2)

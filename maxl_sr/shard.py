"""A folder of photographs shared among machines."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from maxl_sr.errors import UserError

TOTAL = 'JOB_COMPLETIONS'  # Kubernetes tells the index, not how many there are


@dataclass(frozen=True)
class Shard:
    """One of `total` equal shares, by its `number` from 1."""

    number: int
    total: int

    def has(self, name: Path) -> bool:
        """Return whether a file is in this share.

        Its name alone decides, a path below the folder that was given: every file is in one share, whatever else is in
        the folder, in which order the shares are computed, and where the folder lies on another machine.
        """
        digest = hashlib.sha256(os.fsencode(name)).digest()
        return int.from_bytes(digest[:8], 'big') % self.total == self.number - 1


def _integer(name: str) -> int:
    text = os.environ.get(name, '')
    if not re.fullmatch(r'[0-9]{1,9}', text):
        raise UserError(f'--shard auto: the variable {name} must be an integer, not {text!r}')
    return int(text)


def _of_job() -> Shard:
    if 'SLURM_ARRAY_TASK_ID' in os.environ:
        first, step = 1, 1
        if 'SLURM_ARRAY_TASK_MIN' in os.environ:
            first = _integer('SLURM_ARRAY_TASK_MIN')
        if 'SLURM_ARRAY_TASK_STEP' in os.environ:
            step = max(_integer('SLURM_ARRAY_TASK_STEP'), 1)
        task, total = _integer('SLURM_ARRAY_TASK_ID'), _integer('SLURM_ARRAY_TASK_COUNT')
        number, rest = divmod(task - first, step)
        if rest or not 0 <= number < total:
            raise UserError(f'--shard auto: task {task} is none of {total} from {first} in steps of {step}; give the '
                            'array as a range, such as --array=1-8')
        return Shard(number + 1, total)
    if 'JOB_COMPLETION_INDEX' in os.environ:
        if TOTAL not in os.environ:
            raise UserError(f'--shard auto: the variable JOB_COMPLETION_INDEX is there, but not {TOTAL}; set it to the '
                            "job's number of completions")
        index, total = _integer('JOB_COMPLETION_INDEX'), _integer(TOTAL)
        if index >= total:
            raise UserError(f'--shard auto: JOB_COMPLETION_INDEX {index} must be less than {TOTAL} {total}')
        return Shard(index + 1, total)
    raise UserError('--shard auto: this is no task of an array of Slurm (SLURM_ARRAY_TASK_ID) nor of an indexed job of '
                    'Kubernetes (JOB_COMPLETION_INDEX)')


def parse_shard(text: str) -> Shard:
    """Return the share that ``I/N`` means, I from 1 to N, or that ``auto`` finds in the variables of the cluster.

    Raises:
        UserError: It is neither.
    """
    if text == 'auto':
        return _of_job()
    match = re.fullmatch(r'([0-9]{1,9})/([0-9]{1,9})', text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UserError(f'--shard must be I/N, I from 1 to N, or auto, not {text!r}')
    return Shard(int(match[1]), int(match[2]))

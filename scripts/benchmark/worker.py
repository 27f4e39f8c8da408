"""One variant in a process of its own: ``worker.py SPEC``, a JSON object; it makes a step for each line that it reads.

Answers with one JSON line each: first the peak memory of the first step and where its gradients lie, then seconds.
"""

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from arithmetic import floor_flops
from variants import VARIANTS, Problem

from maxl_sr.models.outer_step import WARM_UP


def memory(key: str) -> int:
    """Bytes that /proc says this process has: 'VmRSS' now, 'VmHWM' at most since the peak was reset."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Worker:
    """The problem of a specification and the steps on it."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.variant = VARIANTS[spec['variant']]
        torch.set_num_threads(spec['threads'])
        if spec.get('world_size', 1) > 1:
            torch.distributed.init_process_group('gloo', init_method=spec['rendezvous'], rank=spec['rank'],
                                                 world_size=spec['world_size'])
        self.problem = Problem(spec['width'], spec['batch'], 16, spec['steps'], spec['device'])
        if self.variant.tuned:
            self.problem.as_the_program()
        self.cuda = spec['device'] == 'cuda'

    def step(self) -> Any:
        if not self.variant.captured:
            for weight in self.problem.parameters():
                weight.grad = None
        result = self.variant.step(self.problem)
        if self.cuda:
            torch.cuda.synchronize()
        return result

    def first(self) -> dict[str, Any]:
        """Warm up on a tiny image, then measure the memory of a step on the real one and save its result."""
        self.step()
        self.problem.image(self.spec['batch'], self.spec['patch'])
        if self.variant.tuned:
            self.problem.as_the_program()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        else:
            try:
                Path('/proc/self/clear_refs').write_text('5')  # forget the peak so far
            except OSError:
                pass
            before = memory('VmRSS')
        if self.variant.captured:  # a graph takes its memory at the capture
            for _ in range(WARM_UP + 1):
                self.step()
        result = self.step()
        peak = (torch.cuda.max_memory_allocated() if self.cuda else memory('VmHWM')) - before
        grads = {name: weight.grad.cpu() for module in (self.problem.net, self.problem.mask_net)
                 for name, weight in module.named_parameters(prefix=type(module).__name__) if weight.grad is not None}
        torch.save({'image': result.cpu()} if isinstance(result, torch.Tensor) else grads, self.spec['result'])
        return {'bytes': peak}

    def timed(self) -> dict[str, float]:
        start = time.perf_counter()
        self.step()
        return {'seconds': time.perf_counter() - start}


def main() -> None:
    spec = json.loads(sys.argv[1])
    if spec['variant'] == 'floor':
        problem = Problem(spec['width'], spec['batch'], spec['patch'], spec['steps'], spec['device'])
        print(json.dumps(floor_flops(problem)), flush=True)
        return
    worker = Worker(spec)
    print(json.dumps(worker.first()), flush=True)
    for _ in sys.stdin:
        print(json.dumps(worker.timed()), flush=True)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == '__main__':
    main()

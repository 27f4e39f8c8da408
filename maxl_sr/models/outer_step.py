"""One iteration of training: gradients, then optimisers; on a GPU both as one CUDA graph."""

from collections.abc import Callable
from typing import Any

import torch
from basicsr.utils import get_root_logger
from torch import Tensor, nn

Losses = dict[str, Tensor]
Gradients = Callable[[Tensor, Tensor], Losses]  # of lq and gt; leave the gradients in the parameters
WARM_UP = 3  # iterations before the capture: cuDNN chooses its algorithms, the optimisers make their states
GRADIENT = 'gradient'  # among the losses of an iteration: the norm, for the check


def gradients_of(*nets: nn.Module | None) -> list[Tensor]:
    """Return the gradients that the weights of the networks have."""
    return [weight.grad for net in nets if net is not None for weight in net.parameters() if weight.grad is not None]


def with_norm(losses: Losses, *nets: nn.Module | None) -> Losses:
    """Return the losses and the norm of the gradient of the networks, for :func:`not_finite`."""
    return losses | {GRADIENT: torch.nn.utils.get_total_norm(gradients_of(*nets))}


def not_finite(losses: Losses) -> str | None:
    """Say what is infinite or NaN, a loss or the gradient; take the gradient off the losses."""
    norm = losses.pop(GRADIENT)
    loss = torch.stack([value.detach().sum() for value in losses.values()]).sum()
    if torch.isfinite(loss + norm):
        return None
    what, value = ('gradient', norm) if torch.isfinite(loss) else ('loss', loss)
    return f'the {what} is {value.item()}'


class OuterStep:
    """Calls ``gradients(lq, gt)``, ``check(losses)`` and ``update()``, the parts of an iteration, in this order.

    On a GPU the first iterations run like this on a side stream, then `gradients` and `update` are captured as one CUDA
    graph; from there on an iteration copies its images to the graph's, launches it and calls `check`. Where the capture
    fails, or images come in another size, iterations run as before.

    Args:
        gradients: Computes the losses and leaves the gradients in the parameters.
        check: Looks at the losses and raises if they are not finite.
        update: Lets the optimisers step.
        optimizers: The optimisers that `update` steps.
        capture: Whether to use a CUDA graph.
    """

    def __init__(self, gradients: Gradients, check: Callable[[Losses], None],
                 update: Callable[[], None], optimizers: list[torch.optim.Optimizer], capture: bool) -> None:
        self.gradients, self.check, self.update = gradients, check, update
        self.optimizers = optimizers
        self.capture = capture
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, lq: Tensor, gt: Tensor) -> Losses:
        """Train on the images `lq`, `gt` ``(B, C, H, W)`` and return the losses."""
        if not self.capture:
            return self._eager(lq, gt)
        if self._graph is None:
            self._calls += 1
            if self._calls <= WARM_UP:
                return self._warm_up(lq, gt)
            self._capture(lq, gt)
        if self._graph is None or lq.shape != self._lq.shape or gt.shape != self._gt.shape:
            return self._eager(lq, gt)
        self._lq.copy_(lq)
        self._gt.copy_(gt)
        for rate, group in zip(self._rates, self._groups()):
            rate.fill_(group['lr'])
        self._graph.replay()
        losses = {name: loss.clone() for name, loss in self._losses.items()}
        self.check(losses)
        return losses

    def _eager(self, lq: Tensor, gt: Tensor) -> Losses:
        losses = self.gradients(lq, gt)
        self.check(losses)
        self.update()
        return losses

    def _warm_up(self, lq: Tensor, gt: Tensor) -> Losses:
        self._prepare_optimizers()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self._eager(lq, gt)
        torch.cuda.current_stream().wait_stream(stream)
        return losses

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def _prepare_optimizers(self) -> None:
        """Keep the step counters on the device: a graph cannot read them from the host."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group['capturable'] = True
            for parameter, state in optimizer.state.items():
                if 'step' in state:
                    state['step'] = state['step'].to(parameter.device)

    def _capture(self, lq: Tensor, gt: Tensor) -> None:
        self._lq, self._gt = lq.clone(), gt.clone()
        rates = [group['lr'] for group in self._groups()]
        # A graph keeps the numbers of its capture: learning rates become tensors that every iteration fills
        self._rates = [torch.tensor(float(rate), device=lq.device) for rate in rates]
        for group, rate in zip(self._groups(), self._rates):
            group['lr'] = rate
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        try:
            # Other threads, such as a loader's that pins memory, may go on
            with torch.cuda.graph(graph, capture_error_mode='thread_local'):
                self._losses = self.gradients(self._lq, self._gt)
                self.update()
        except RuntimeError as error:
            torch.cuda.set_stream(stream)  # a failing end of the capture leaves its own
            self.capture = False
            del self._lq, self._gt
            get_root_logger().warning('This training cannot run as a CUDA graph, it goes on without: '
                                      f'{error.__context__ or error}')
        else:
            self._graph = graph
        finally:
            for group, rate in zip(self._groups(), rates):
                group['lr'] = rate

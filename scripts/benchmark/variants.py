"""What is measured: every variant is a function of one problem that makes one step and leaves its gradients."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

import maxl_sr  # noqa: F401  isort: skip
from maxl_sr.archs.mask_arch import MaskNet
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.meta import Task, adapt, maxl_loss, transfer_loss
from maxl_sr.models.outer_step import OuterStep
from maxl_sr.utils.distributed import all_reduce
from maxl_sr.utils.machine import keep_freed_memory, memory_format

LR = 1e-3
HEADS = ('primary_head', 'aux_head')


class Both(nn.Module):
    """The multi-task network whose call gives (restored, reconstruction), for what can only call a module."""

    def __init__(self, net: MultiTaskNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.net.forward_heads(self.net.forward_features(x), x)


class Problem:
    """Networks of the design at a width, and a batch: smooth images with noise; the same for every variant."""

    def __init__(self, width: int, batch: int, patch: int, steps: int, device: str) -> None:
        torch.manual_seed(0)
        self.device = torch.device(device)
        self.net = MultiTaskNet(num_feat=width, feat_step=width // 2).to(self.device)
        self.mask_net = MaskNet().to(self.device)
        self.both = Both(self.net)
        self.objective = MaskedReconstructionLoss()
        self.steps = steps
        self.image(batch, patch)

    def image(self, batch: int, patch: int) -> None:
        generator = torch.Generator().manual_seed(1)
        coarse = torch.rand(batch, 3, 8, 8, generator=generator)
        x = F.interpolate(coarse, size=(patch, patch), mode='bicubic').clamp(0, 1)
        y = (x + 0.1 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
        self.x, self.y = x.to(self.device), y.to(self.device)

    def as_the_program(self) -> None:
        """Choose memory format and allocator as the models of the package do."""
        if self.device.type == 'cpu':
            keep_freed_memory()
        self.net.to(memory_format=memory_format(self.device))
        self.mask_net.to(memory_format=memory_format(self.device))
        self.y = self.y.contiguous(memory_format=memory_format(self.device))

    def parameters(self) -> list[nn.Parameter]:
        return [*self.net.parameters(), *self.mask_net.parameters()]

    def mask(self) -> Tensor:
        return checkpoint(self.mask_net, self.y, use_reentrant=False, preserve_rng_state=False)


# ---- references: the whole network in every inner step, by the usual means ---------------------------------------

def _auxiliary(outputs: tuple[Tensor, Tensor], y: Tensor, mask: Tensor) -> Tensor:
    return ((outputs[1] - y).abs() * mask).mean()


def _samples(problem: Problem) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    mask = problem.mask_net(problem.y)
    for i in range(len(problem.y)):
        yield problem.y[i:i + 1], problem.x[i:i + 1], mask[i:i + 1]


def _unrolled_step(problem: Problem, weights: dict[str, Tensor], loss: Tensor, names: list[str],
                   create_graph: bool = True) -> dict[str, Tensor]:
    grads = torch.autograd.grad(loss, [weights[name] for name in names], create_graph=create_graph)
    return weights | {name: weights[name] - LR * grad for name, grad in zip(names, grads)}


def mtl_unrolled(problem: Problem) -> None:
    """Plain autograd through K steps."""
    losses = []
    for y, x, mask in _samples(problem):
        weights: dict[str, Tensor] = dict(problem.both.named_parameters())
        names = [name for name in weights if name.split('.')[1] in HEADS]
        for _ in range(problem.steps):
            outputs = functional_call(problem.both, weights, (y, ))
            weights = _unrolled_step(problem, weights, _auxiliary(outputs, y, mask), names)
        losses.append(F.l1_loss(functional_call(problem.both, weights, (y, ))[0], x))
    torch.stack(losses).sum().backward()


def mtl_higher(problem: Problem) -> None:
    import higher
    heads = [weight for name, weight in problem.both.named_parameters() if name.split('.')[1] in HEADS]
    optimizer = torch.optim.SGD(heads, lr=LR)
    losses = []
    for y, x, mask in _samples(problem):
        with higher.innerloop_ctx(problem.both, optimizer, copy_initial_weights=False) as (net, inner):
            for _ in range(problem.steps):
                inner.step(_auxiliary(net(y), y, mask))
            losses.append(F.l1_loss(net(y)[0], x))
    torch.stack(losses).sum().backward()


def mtl_torchopt(problem: Problem) -> None:
    import torchopt
    inner = torchopt.MetaSGD(nn.ModuleList([problem.net.primary_head, problem.net.aux_head]), lr=LR)
    start = torchopt.extract_state_dict(problem.both, by='reference')
    losses = []
    for y, x, mask in _samples(problem):
        for _ in range(problem.steps):
            inner.step(_auxiliary(problem.both(y), y, mask))
        losses.append(F.l1_loss(problem.both(y)[0], x))
        torchopt.recover_state_dict(problem.both, start)
    torch.stack(losses).sum().backward()


def maxl_double_backward(problem: Problem) -> None:
    """Loop (b) by a second-order graph through the virtual step; gradients of the mask network alone."""
    mask = problem.mask_net(problem.y)
    weights: dict[str, Tensor] = dict(problem.both.named_parameters())
    outputs = problem.both(problem.y)
    loss = F.l1_loss(outputs[0], problem.x) + _auxiliary(outputs, problem.y, mask)
    virtual = _unrolled_step(problem, weights, loss, list(weights))
    outer = F.l1_loss(functional_call(problem.both, virtual, (problem.y, ))[0], problem.x)
    outer.backward(inputs=list(problem.mask_net.parameters()))


def test_whole_network(problem: Problem) -> Tensor:
    """Meta-test that runs the whole network in every step."""
    y = problem.y
    with torch.no_grad():
        mask = problem.mask_net(y)
    weights: dict[str, Tensor] = {name: weight.detach().requires_grad_(name.split('.')[1] in HEADS)
                                  for name, weight in problem.both.named_parameters()}
    names = [name for name in weights if weights[name].requires_grad]
    for _ in range(problem.steps):
        loss = _auxiliary(functional_call(problem.both, weights, (y, )), y, mask)
        weights = {name: weight.detach().requires_grad_(weight.requires_grad)
                   for name, weight in _unrolled_step(problem, weights, loss, names, create_graph=False).items()}
    with torch.no_grad():
        return functional_call(problem.both, weights, (y, ))[0]


def plain(problem: Problem) -> None:
    """A supervised training step of the same network, without auxiliary head and mask."""
    F.l1_loss(problem.net(problem.y), problem.x).backward()


# ---- ours ----------------------------------------------------------------------------------------------------------

def transfer(problem: Problem, mask: Tensor, **how: str) -> Tensor:
    return transfer_loss(problem.net, problem.objective, F.l1_loss, problem.y, problem.x, mask, steps=problem.steps,
                         lr=LR, **how)  # type: ignore[arg-type]


def mtl_ours(**how: str) -> Callable[[Problem], None]:
    return lambda problem: transfer(problem, problem.mask(), **how).backward()


def maxl_ours(problem: Problem) -> None:
    maxl_loss(problem.net, problem.objective, F.l1_loss, problem.y, problem.x, problem.mask(), lr=LR).backward()


def test_ours(problem: Problem) -> Tensor:
    with torch.no_grad():
        task = Task(problem.net, problem.objective, problem.y, problem.mask_net(problem.y))
        *_, (weights, _) = adapt(task, problem.steps, LR)
        return task.restored(weights)


def inference(problem: Problem) -> Tensor:
    with torch.no_grad():
        return problem.net(problem.y)


def averaged(step: Callable[[Problem], None]) -> Callable[[Problem], None]:
    """The step in one of several processes."""

    def run(problem: Problem) -> None:
        step(problem)
        if torch.distributed.is_initialized():
            all_reduce([weight.grad for weight in problem.parameters() if weight.grad is not None], mean=False)

    return run


def autocast(step: Callable[[Problem], None]) -> Callable[[Problem], None]:
    def run(problem: Problem) -> None:
        with torch.autocast(problem.device.type, torch.bfloat16, cache_enabled=False):
            step(problem)

    return run


def graph(step: Callable[[Problem], None]) -> Callable[[Problem], None]:
    """The step with its optimiser as one CUDA graph, as the models run it; the optimiser's rate is 0."""
    made: dict[int, OuterStep] = {}

    def run(problem: Problem) -> None:
        if id(problem) not in made:
            optimizer = torch.optim.Adam(problem.parameters(), lr=0.0)

            def gradients(lq: Tensor, gt: Tensor) -> dict[str, Tensor]:
                problem.y, problem.x = lq, gt
                optimizer.zero_grad()
                step(problem)
                return {}

            made[id(problem)] = OuterStep(gradients, lambda losses: None, optimizer.step, [optimizer], capture=True)
        made[id(problem)](problem.y, problem.x)

    return run


class Variant:
    """A function to time.

    `tuned`: with the settings that the program chooses, otherwise with those of plain torch; `result`: whether its
    gradient or image is compared with that of the reference; `captured`: whether it becomes a CUDA graph, whose
    gradients stay where they are.
    """

    def __init__(self, step: Callable[[Problem], Any], tuned: bool, result: bool = True,
                 captured: bool = False) -> None:
        self.step, self.tuned, self.result, self.captured = step, tuned, result, captured


VARIANTS = {
    'plain step': Variant(plain, True, result=False),
    'MTL plain unrolling': Variant(mtl_unrolled, False),
    'MTL plain unrolling, our settings': Variant(mtl_unrolled, True),
    'MTL higher': Variant(mtl_higher, False),
    'MTL torchopt': Variant(mtl_torchopt, False),
    'MTL stored': Variant(mtl_ours(meta_gradient='stored'), True),
    'MTL replay': Variant(mtl_ours(meta_gradient='replay'), True),
    'MTL first_order': Variant(mtl_ours(meta_gradient='first_order'), True, result=False),
    'MTL stored, together': Variant(mtl_ours(meta_gradient='stored', samples='together'), True),
    'MTL replay, together': Variant(mtl_ours(meta_gradient='replay', samples='together'), True),
    'MTL stored, bf16': Variant(autocast(mtl_ours(meta_gradient='stored')), True),
    'MTL replay, bf16': Variant(autocast(mtl_ours(meta_gradient='replay')), True),
    'MTL stored, processes': Variant(averaged(mtl_ours(meta_gradient='stored')), True, result=False),
    'MTL stored, CUDA graph': Variant(graph(mtl_ours(meta_gradient='stored')), True, captured=True),
    'MAXL double backward': Variant(maxl_double_backward, False),
    'MAXL double backward, our settings': Variant(maxl_double_backward, True),
    'MAXL ours': Variant(maxl_ours, True),
    'MAXL ours, bf16': Variant(autocast(maxl_ours), True),
    'MAXL ours, CUDA graph': Variant(graph(maxl_ours), True, captured=True),
    'test whole network': Variant(test_whole_network, False),
    'test whole network, our settings': Variant(test_whole_network, True),
    'test ours': Variant(test_ours, True),
    'inference': Variant(inference, True, result=False),
}

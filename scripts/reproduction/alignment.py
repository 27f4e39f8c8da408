"""What the auxiliary loss tells: how its gradient lies to that of the primary loss with ground truth."""

import torch
from basicsr.data import build_dataset
from basicsr.losses import build_loss

from maxl_sr.archs.mask_arch import mask_of
from maxl_sr.meta import Task
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.settings.section import parse
from maxl_sr.utils.machine import find_device
from scripts.reproduction.plan import Row
from scripts.reproduction.trained import networks


def alignment(row: Row) -> dict[str, list[float]]:
    """Return, by test set, the cosine between both gradients for every image, at the trained weights.

    The gradients are those into the weights that adapt and that the restored image depends on, so not into the
    auxiliary head. 1: a step on the auxiliary loss is one on the primary loss; 0: it tells nothing of it. Where one of
    the gradients is 0, as with parallel heads, the cosine is 0.
    """
    device = find_device('auto')
    net, mask_net, opt = networks(row)
    net = net.to(device)
    mask_net = mask_net and mask_net.to(device)
    options = parse(Adapt, opt['val']['adapt'], 'val: adapt')
    objective = build_loss(options.aux_opt).to(device)
    found: dict[str, list[float]] = {}
    for key, section in opt['datasets'].items():
        dataset = build_dataset({**section, 'phase': 'test', 'scale': 1})
        cosines = found[section.get('name', key)] = []
        for index in range(len(dataset)):
            item = dataset[index]
            y, x = item['lq'][None].to(device), item['gt'][None].to(device)
            mask = None if mask_net is None else mask_of(mask_net, net, y)
            task = Task(net, objective, y, mask, options.params)
            at = {name: weight.detach().clone().requires_grad_() for name, weight in task.weights.items()}
            losses = (task.restored(at) - x).abs().mean(), task.objective(at)
            primary, auxiliary = (torch.autograd.grad(loss, list(at.values()), allow_unused=True) for loss in losses)
            both = [(a.flatten(), torch.zeros_like(a).flatten() if b is None else b.flatten())
                    for a, b in zip(primary, auxiliary) if a is not None]
            cosines.append(round(float(torch.cosine_similarity(*map(torch.cat, zip(*both)), dim=0)), 4))
    return found

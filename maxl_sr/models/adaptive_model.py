"""What the models of both stages share: two networks, adaptation at test time, and figures before and after it."""

import csv
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import path as osp
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.metrics import calculate_metric
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger, imwrite, tensor2img
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maxl_sr.adaptation import Adapter, check_rates, saved_rates
from maxl_sr.adaptation.checkpoint import with_rates
from maxl_sr.archs.multitask_arch import enlarge
from maxl_sr.errors import UserError
from maxl_sr.meta import InnerRates, is_multi_task
from maxl_sr.models.outer_step import Losses, OuterStep
from maxl_sr.settings.adaptation import Adapt, Compute
from maxl_sr.settings.components import check_objective_section
from maxl_sr.settings.losses import check_objective
from maxl_sr.settings.messages import keys
from maxl_sr.settings.section import Section, parse
from maxl_sr.settings.training import AdaptivePath, AdaptiveValidation
from maxl_sr.settings.values import check_keys
from maxl_sr.toolbox.models import last_good
from maxl_sr.utils.distributed import Shard, all_reduce, broadcast
from maxl_sr.utils.files import replacing
from maxl_sr.utils.machine import keep_freed_memory, memory_format

BEFORE = '_before'
GRADIENT = 'gradient'  # among the losses of an iteration: the norm, for the check
# What BasicSR puts into ``path`` itself
PATHS_ADDED = ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')


def gradients_of(*nets: nn.Module | None) -> list[Tensor]:
    """Return the gradients that the weights of the networks have."""
    return [weight.grad for net in nets if net is not None for weight in net.parameters() if weight.grad is not None]


@contextmanager
def evaluating(*nets: nn.Module | None) -> Iterator[None]:
    """Put the networks into evaluation mode without gradients, and back into the mode that they were in."""
    modes = [(net, net.training) for net in nets if net is not None]
    for net, _ in modes:
        net.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for net, mode in modes:
            net.train(mode)


class AdaptiveModel(SRModel):
    """``SRModel`` with a mask network ``network_m`` beside ``network_g`` and per-image adaptation (Algorithm 3).

    With ``val: adapt`` every image is restored twice, by the trained weights and after K steps on the inner objective;
    every metric is then reported after adaptation under its own name and before it as ``<name>_before``, both of the
    clamped 8-bit images. The trained weights are never changed. Without ``val: adapt`` testing is that of ``SRModel``.

    The keys are those of :mod:`maxl_sr.settings.training`.
    """

    train_section: type[Section]  # the model of the section train

    def __init__(self, opt: dict[str, Any]) -> None:
        self.net_m: nn.Module | None = None
        self.optimizer_m: torch.optim.Optimizer | None = None
        self.inner_rates: InnerRates | None = None
        self.adapt_opt: Adapt | None = None
        self._rows: list[dict[str, Any]] | None = None  # of the CSV, while a validation is running
        self._shard: Shard | None = None  # while several processes validate
        self._diverged = False  # on an image of the validation that is running
        self.check_options(opt)
        if opt['num_gpu'] == 0:
            keep_freed_memory()
        super().__init__(opt)
        if not self.is_train:
            self._init_mask_network()
            self.inner_rates = saved_rates(opt['path'].get('pretrain_network_g'))
        section = (opt.get('val') or {}).get('adapt')
        if section is not None:
            self.adapt_opt = parse(Adapt, section, 'val: adapt').with_objective((opt.get('train') or {}).get('aux_opt'))
            self.adapter = Adapter(self.adapt_opt, opt.get('scale', 1), self.inner_rates).to(self.device)
            learned = self.inner_rates is not None and self.adapt_opt.lr is None
            if self.inner_rates is not None and learned:
                check_rates(self.inner_rates, self.net_g)
            rate = 'inner rates as learned' if learned else f'inner rate {self._rate_in_words()}'
            get_root_logger().info(f'Adaptation at test time: {type(self.adapter.objective).__name__}, {rate}')

    @classmethod
    def check_options(cls, opt: dict[str, Any]) -> None:
        """Check the parts of the option file that this model reads itself.

        Raises:
            UserError: A key is unknown or missing, or a value has the wrong type or is out of range.
        """
        if opt['is_train'] and opt['num_gpu'] > 1 and not opt['dist']:
            raise UserError(f"num_gpu: {opt['num_gpu']} GPUs need one process each: torchrun … --launcher pytorch")
        check_keys('val', opt.get('val') or {}, keys(AdaptiveValidation))
        check_keys('path', opt['path'], [*keys(AdaptivePath), *PATHS_ADDED])
        kind = opt['network_g']['type']
        if not is_multi_task(ARCH_REGISTRY.get(kind)):
            raise UserError(f"network_g: type: {kind} has no auxiliary head, which a {opt['model_type']} needs; use "
                            'MultiTaskNet, or model_type: SRModel')
        section = (opt.get('val') or {}).get('adapt')
        if section is not None:
            adapt_opt = parse(Adapt, section, 'val: adapt')
            if adapt_opt.aux_opt is not None:
                check_objective('val: adapt: aux_opt', adapt_opt.aux_opt, opt.get('scale', 1))
            if adapt_opt.guard is not None:
                check_objective('val: adapt: guard: aux_opt', adapt_opt.guard.aux_opt, opt.get('scale', 1))
            learned = cls._params_of_learned_rates(opt)
            if learned is not None and adapt_opt.lr is None:
                if adapt_opt.optimizer != 'sgd':
                    raise UserError(f'val: adapt: the learned rates are those of optimizer: sgd; give a lr for '
                                    f'{adapt_opt.optimizer}')
                if adapt_opt.params != learned:
                    raise UserError(f'val: adapt: the learned rates are those of params: {learned}; give a lr for '
                                    f'{adapt_opt.params}')
        if not opt['is_train']:
            return
        train_opt = opt['train']
        check_keys('train', train_opt, keys(cls.train_section))
        Compute.of(train_opt)
        if train_opt.get('pixel_opt') is None:
            raise UserError("train: key 'pixel_opt' is missing")
        if train_opt.get('aux_opt') is not None:
            check_objective('train: aux_opt', train_opt['aux_opt'], opt.get('scale', 1))
        if opt.get('network_m') is not None:
            if (train_opt.get('aux_opt') or {}).get('fixed_mask', 'none') != 'none':
                raise UserError('train: aux_opt: fixed_mask and network_m are given, but there can be one mask only')
            if train_opt.get('aux_opt') is None:
                raise UserError('network_m is given, but train: aux_opt is missing: no loss would use the mask')
            if not train_opt.get('optim_m'):
                raise UserError('network_m is given, but train: optim_m is missing')

    @classmethod
    def _params_of_learned_rates(cls, opt: dict[str, Any]) -> str | None:
        """What the learned inner rates are for, 'heads' or 'all'; None where the options lead to none."""
        rates = None if opt['is_train'] else saved_rates(opt['path'].get('pretrain_network_g'))
        return None if rates is None else rates.params()

    def _init_mask_network(self) -> None:
        if self.opt.get('network_m') is None:
            return
        self.net_m = self.model_to_device(build_network(self.opt['network_m']))
        self.print_network(self.net_m)
        path = self.opt['path']
        if path.get('pretrain_network_m') is not None:
            self.load_network(self.net_m, path['pretrain_network_m'], path.get('strict_load_m', True),
                              path.get('param_key_m', 'params'))

    def init_training_settings(self) -> None:
        self._init_mask_network()
        if self.net_m is not None:
            self.net_m.train()
        aux_opt = self.opt['train'].get('aux_opt')
        section = check_objective_section('train: aux_opt', aux_opt) if aux_opt else None
        self.objective = build_loss(section).to(self.device) if section else None
        compute = Compute.of(self.opt['train'])
        self._autocast = compute.autocast == 'bf16'
        # With several processes, iterations are not captured: the reduction of the gradients lies within them
        self._capture = self.device.type == 'cuda' and not self.opt['dist'] and compute.cuda_graph
        super().init_training_settings()

    def setup_optimizers(self) -> None:
        # A copy first: BasicSR pops from optim_g, which is the same section where the option file uses a YAML anchor
        optim_opt = dict(self.opt['train'].get('optim_m') or {})
        super().setup_optimizers()
        if self.net_m is not None:
            self.optimizer_m = self.get_optimizer(optim_opt.pop('type'), self.net_m.parameters(), **optim_opt)
            self.optimizers.append(self.optimizer_m)

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Move `net` to the device and give all processes the weights of the first one.

        There is no ``DistributedDataParallel``: it does not see ``autograd.grad``. The outer gradients are reduced by
        :meth:`reduce_gradients`.
        """
        net = net.to(self.device).to(memory_format=memory_format(self.device))
        if self.opt['dist']:
            broadcast(list(net.state_dict().values()))
        return net

    def reduce_tensors(self, tensors: list[Tensor], mean: bool = True) -> None:
        """Replace the tensors by their mean (or sum) over all processes, in place."""
        if self.opt['dist']:
            all_reduce(tensors, mean)

    def reduce_gradients(self, *nets: nn.Module | None, mean: bool = True) -> None:
        """Replace the gradients of the networks by their mean (or sum) over all processes."""
        self.reduce_tensors(gradients_of(*nets), mean)

    def autocast(self) -> torch.autocast:
        """Return the context in which the networks compute in training (``train: autocast``)."""
        # Without the cache: it holds the low-precision copies of weights, which change within a step
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast, cache_enabled=False)

    def mask_with_graph(self) -> Tensor | None:
        """Return the mask of the images, whose activations are computed again on the way back.

        Kept, they would lie in memory through all of an outer step.
        """
        if self.net_m is None:
            return None
        return checkpoint(self.net_m, self.lq, use_reentrant=False, preserve_rng_state=False)

    def outer_step(self, gradients: Callable[[], Losses], nets: list[nn.Module | None],
                   optimizers: list[torch.optim.Optimizer]) -> OuterStep:
        """Return the iteration that leaves the gradients of `nets`, then steps their `optimizers`."""

        def of_images(lq: Tensor, gt: Tensor) -> Losses:
            self.lq, self.gt = lq, gt
            for optimizer in optimizers:
                optimizer.zero_grad()
            losses = gradients()
            return losses | {GRADIENT: torch.nn.utils.get_total_norm(gradients_of(*nets))}

        def update() -> None:
            for optimizer in optimizers:
                optimizer.step()
            if self.ema_decay > 0 and self.net_g in nets:
                self.model_ema(decay=self.ema_decay)

        return OuterStep(of_images, self.check_finite, update, optimizers, self._capture)

    def check_finite(self, losses: Losses) -> None:
        """Stop the training before a loss or gradient that is not finite is saved; take the gradient off the losses.

        The gradient is that after the reduction: all processes stop together.

        Raises:
            UserError: The loss or the gradient is infinite or NaN; the message names the last good checkpoint.
        """
        norm = losses.pop(GRADIENT)
        loss = torch.stack([value.detach().sum() for value in losses.values()]).sum()
        if torch.isfinite(loss + norm):
            return
        what, value = ('gradient', norm) if torch.isfinite(loss) else ('loss', loss)
        raise UserError(f'iteration {self.current_iter}: the {what} is {value.item()}, training stops; '
                        f'{last_good(self.opt)}')

    def feed_data(self, data: dict[str, Any]) -> None:
        self.__dict__.pop('gt', None)  # of an image before, where this one has none
        super().feed_data(data)
        self.lq = self.lq.contiguous(memory_format=memory_format(self.device))
        self.image_path = data['lq_path'][0] if 'lq_path' in data else 'an image'
        self.image_name = osp.splitext(osp.basename(self.image_path))[0] if 'lq_path' in data else ''

    def test(self) -> None:
        """Restore the image; with ``val: adapt`` after adapting to it, leaving the network as it is.

        Raises:
            UserError: In a test, the restored image is not finite. In a training its figures are NaN.
        """
        self._restore()
        if torch.isfinite(self.output).all():
            return
        diverged = self.adapt_opt is not None and bool(torch.isfinite(self.before).all())
        cause = f'the adaptation diverged; choose a smaller val: adapt: lr than {self._rate_in_words()}' if diverged \
            else 'the network itself makes such values of it'
        told = f'{self.image_path}: the restored image is not finite: {cause}'
        if not self.is_train:
            raise UserError(told)
        self._diverged = True
        get_root_logger().warning(f'{told}. The figures of this validation are nan.')

    def _rate_in_words(self) -> str:
        rates = self.adapter.rates_of(1)
        return str(rates) if isinstance(rates, float) else 'the learned rates'

    def _restore(self) -> None:
        if self.adapt_opt is None:
            super().test()
            return
        net: Any = getattr(self, 'net_g_ema', self.net_g)
        with evaluating(net, self.net_m):
            start = self._now()
            self.mask = None if self.net_m is None else self.net_m(self.lq)
            found = self.adapter.adapt(net, self.lq, self.mask)
            self.after_step: list[np.ndarray] = []
            pictures = 0.0  # of the steps, which are no part of the method, nor of its time
            for weights, _ in found:
                if not self.is_train:
                    began = self._now()
                    self.after_step.append(tensor2img([found.task.restored(weights)]))
                    pictures += self._now() - began
            self.guard_step = found.step if found.guarded else None
            self.output = found.restored()
            self.seconds = self._now() - start - pictures
            self.before = found.bound.restored()

    def _now(self) -> float:
        if self.device.type == 'cuda':
            torch.cuda.synchronize()
        return time.perf_counter()

    def get_current_visuals(self) -> OrderedDict[str, Tensor]:
        """Return the images of ``SRModel`` and, after an adaptation, 'before' and 'mask' on the CPU."""
        visuals = super().get_current_visuals()
        if self.adapt_opt is not None:
            visuals['before'] = self.before.cpu()
            if self.mask is not None:
                visuals['mask'] = self.mask.cpu()
            if self._rows is not None:
                self._record(visuals, self._rows)
        return visuals

    def dist_validation(self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        """Validate a share of the images in each process, and report on all of them in the first one."""
        torch.distributed.barrier()  # the first process has made the folders
        self._shard = Shard(dataloader, self.opt['rank'], self.opt['world_size'])
        try:
            self.nondist_validation(self._shard.loader, current_iter, tb_logger, save_img)
        finally:
            self._shard = None

    def _update_best_metric_result(self, dataset_name: str, metric: str, val: float, current_iter: int | str) -> None:
        if self._diverged:
            val = math.nan
        if self._shard is not None:
            val = self._shard.mean(val, self.device)
        self.metric_results[metric] = val
        super()._update_best_metric_result(dataset_name, metric, val, current_iter)

    def nondist_validation(self, dataloader: Any, current_iter: int | str, tb_logger: Any, save_img: bool) -> None:
        self._diverged = False
        if self.adapt_opt is None:
            super().nondist_validation(dataloader, current_iter, tb_logger, save_img)
            return
        opt = dataloader.dataset.opt
        self._dataset_name = opt['name']
        # Every s-th pixel: the enlargement, centred, lies half a pixel beside the ground truth
        self._aligned = (opt.get('degradation') or {}).get('downsample') != 'direct'
        self._current_iter = current_iter
        self._save_img = save_img
        rows = self._rows = []
        # BasicSR saves the result alone; _record saves it beside the other images.
        super().nondist_validation(dataloader, current_iter, tb_logger, save_img=False)
        self._rows = None
        if self._shard is not None:
            rows = self._shard.gather(rows)
        if not self.is_train and self.opt['rank'] == 0:
            self._write_csv(rows)

    def _initialize_best_metric_results(self, dataset_name: str) -> None:
        super()._initialize_best_metric_results(dataset_name)
        if self.adapt_opt is not None:
            record = self.best_metric_results[dataset_name]
            for name in self.opt['val']['metrics']:
                record.setdefault(name + BEFORE, dict(record[name]))
                self.metric_results.setdefault(name + BEFORE, 0)

    def _record(self, visuals: OrderedDict[str, Tensor], rows: list[dict[str, Any]]) -> None:
        """Add one image to the metrics before adaptation and to the table, and save its pictures."""
        kinds = {'noisy': 'lq', 'before': 'before', 'after': 'result', 'gt': 'gt', 'mask': 'mask'}
        images = {kind: tensor2img([visuals[key]]) for kind, key in kinds.items() if key in visuals}
        scale = self.opt.get('scale', 1)
        # For super-resolution the image to compare with is the bicubic enlargement
        degraded = images['noisy'] if scale == 1 else tensor2img([enlarge(visuals['lq'], scale)])
        row: dict[str, Any] = {'image': self.image_name}
        against = {'img2': images['gt']} if 'gt' in images else {}
        for name, opt in (self.opt['val'].get('metrics') or {}).items():
            figures = {BEFORE: images['before']}
            if self._aligned:
                figures = {'_noisy': degraded, **figures}
            figures |= {f'_step{step}': image for step, image in enumerate(self.after_step, start=1)}
            if self.guard_step is not None:
                figures['_after'] = images['after']
            for column, image in figures.items():
                row[name + column] = calculate_metric({'img': image, **against}, opt)
            self.metric_results[name + BEFORE] += row[name + BEFORE]
        if self.guard_step is not None:
            row['guard_step'] = self.guard_step
        row['seconds'] = self.seconds
        rows.append(row)
        if self._save_img:
            root = self.opt['path']['visualization']
            if self.is_train:
                stem = osp.join(root, self.image_name, f'{self.image_name}_{self._current_iter}')
            else:
                suffix = self.opt['val'].get('suffix')
                stem = osp.join(root, self._dataset_name, self.image_name + (f'_{suffix}' if suffix else ''))
            for kind, image in images.items():
                imwrite(image, f'{stem}_{kind}.png')

    def _write_csv(self, rows: list[dict[str, Any]]) -> None:
        path = Path(self.opt['path']['results_root'], f'{self._dataset_name}.csv')
        # A name that is no text is written with escapes
        with replacing(path) as partial, open(partial, 'w', newline='', encoding='utf-8',
                                              errors='backslashreplace') as file:
            # The longest: the guard may have stopped others after fewer steps, the rest of whose columns is empty
            writer = csv.DictWriter(file, fieldnames=max((list(row) for row in rows), key=len))
            writer.writeheader()
            writer.writerows(rows)

    def save_network(self, net: Any, net_label: str, current_iter: int, param_key: Any = 'params') -> None:
        if net_label == 'net_g' and self.inner_rates is not None:
            net, param_key = with_rates(net, param_key, self.inner_rates)
        super().save_network(net, net_label, current_iter, param_key)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        super().resume_training(resume_state)
        for optimizer in self.optimizers:  # a CUDA graph sets it; the training may go on without
            for group in optimizer.param_groups:
                group['capturable'] = False

    def save(self, epoch: int, current_iter: int) -> None:
        """Save ``net_g_*.pth``, ``net_m_*.pth`` and, last, the training state that names them."""
        if self.net_m is not None:
            self.save_network(self.net_m, 'net_m', current_iter)
        super().save(epoch, current_iter)

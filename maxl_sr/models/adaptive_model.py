"""What the models of both stages share: two networks, adaptation at test time, and figures before and after it."""

import math
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from os import path as osp
from typing import Any

import torch
from basicsr.archs import build_network
from basicsr.losses import build_loss
from basicsr.utils import get_root_logger
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from maxl_sr.adaptation import Adapter, check_rates
from maxl_sr.archs.mask_arch import mask_inputs
from maxl_sr.errors import UserError
from maxl_sr.models.adapted import adapted, restored
from maxl_sr.models.figures import BEFORE, Figures
from maxl_sr.models.options import Options
from maxl_sr.models.outer_step import Gradients, Losses, OuterStep, gradients_of, not_finite, with_norm
from maxl_sr.models.saving import SavingModel
from maxl_sr.toolbox.models import last_good
from maxl_sr.utils.distributed import Shard, all_reduce, broadcast
from maxl_sr.utils.machine import keep_freed_memory, memory_format


class AdaptiveModel(SavingModel):
    """``SRModel`` with a mask network ``network_m`` beside ``network_g`` and per-image adaptation (Algorithm 3).

    With ``val: adapt`` every image is restored twice, by the trained weights and after K steps on the inner objective;
    every metric is then reported after adaptation under its own name and before it as ``<name>_before``, both of the
    clamped 8-bit images. The trained weights are never changed. Without ``val: adapt`` testing is that of ``SRModel``.

    The keys are those of :mod:`maxl_sr.settings.training`.
    """

    lq: Tensor
    net_g: nn.Module

    def __init__(self, opt: dict[str, Any]) -> None:
        self.net_m = None
        self.optimizer_m: torch.optim.Optimizer | None = None
        self.inner_rates = None
        self._figures: Figures | None = None  # while a validation is running
        self._shard: Shard | None = None  # while several processes validate
        self._diverged = False  # on an image of the validation that is running
        self.options = self.check_options(opt)
        self.adapt_opt = self.options.adapt
        if opt['num_gpu'] == 0:
            keep_freed_memory()
        super().__init__(opt)
        if not self.is_train:
            self._init_mask_network()
            self.inner_rates = self.options.rates
        if self.adapt_opt is not None:
            self.adapter = Adapter(self.adapt_opt, opt.get('scale', 1), self.inner_rates).to(self.device)
            if self.inner_rates is not None and self.adapt_opt.lr is None:
                check_rates(self.inner_rates, self.net_g)
            rate = self.adapter.rate()
            get_root_logger().info(f'Adaptation at test time: {type(self.adapter.objective).__name__}, '
                                   f'{"inner rates as learned" if rate is None else f"inner rate {rate}"}')

    @classmethod
    @abstractmethod
    def check_options(cls, opt: Mapping[str, Any]) -> Options[Any]:
        """Return the sections of the option file that this model reads itself.

        Raises:
            UserError: A key is unknown or missing, or a value has the wrong type or is out of range.
        """

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
        section, compute = self.options.aux_opt, self.options.compute
        self.objective = build_loss(section).to(self.device) if section else None
        mask_opt = self.opt['train'].get('mask_opt')
        self.cri_mask = build_loss(mask_opt).to(self.device) if mask_opt else None
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

    def mask_with_graph(self, lq: Tensor) -> Tensor | None:
        """Return the mask of images, whose activations are computed again on the way back.

        Kept, they would lie in memory through all of an outer step.
        """
        if self.net_m is None:
            return None
        mask: Tensor = checkpoint(self.net_m, *mask_inputs(self.net_m, self.net_g, lq), use_reentrant=False,
                                  preserve_rng_state=False)
        return mask

    def outer_step(self, gradients: Gradients, nets: list[nn.Module | None],
                   optimizers: list[torch.optim.Optimizer]) -> OuterStep:
        """Return the iteration that leaves the gradients of `nets`, then steps their `optimizers`.

        It raises ``UserError`` where the loss or the gradient is not finite, and names the last good checkpoint.
        """

        def of_images(lq: Tensor, gt: Tensor) -> Losses:
            for optimizer in optimizers:
                optimizer.zero_grad()
            losses = gradients(lq, gt)
            return with_norm(losses, *nets)

        def check(losses: Losses) -> None:
            # Before anything of it is saved; of the gradient after the reduction: all processes stop together
            wrong = not_finite(losses)
            if wrong is not None:
                raise UserError(f'iteration {self.current_iter}: {wrong}, training stops; {last_good(self.opt)}')

        def update() -> None:
            for optimizer in optimizers:
                optimizer.step()
            if self.ema_decay > 0 and self.net_g in nets:
                self.model_ema(decay=self.ema_decay)

        return OuterStep(of_images, check, update, optimizers, self._capture)

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
        net: nn.Module = getattr(self, 'net_g_ema', self.net_g)
        if self.adapt_opt is None:
            self.output: Tensor = restored(net, self.lq)
        else:
            self.adapted = adapted(self.adapter, net, self.net_m, self.lq, pictures=not self.is_train)
            self.output = self.adapted.output
        if torch.isfinite(self.output).all():
            return
        cause = 'the network itself makes such values of it'
        if self.adapt_opt is not None and torch.isfinite(self.adapted.before).all():
            rate = self.adapter.rate() or 'the learned rates'
            cause = f'the adaptation diverged; choose a smaller val: adapt: lr than {rate}'
        told = f'{self.image_path}: the restored image is not finite: {cause}'
        if not self.is_train:
            raise UserError(told)
        self._diverged = True
        get_root_logger().warning(f'{told}. The figures of this validation are nan.')

    def get_current_visuals(self) -> OrderedDict[str, Tensor]:
        """Return the images of ``SRModel`` and, after an adaptation, 'before' and 'mask' on the CPU."""
        visuals: OrderedDict[str, Tensor] = super().get_current_visuals()
        if self.adapt_opt is not None:
            visuals['before'] = self.adapted.before.cpu()
            if self.adapted.mask is not None:
                visuals['mask'] = self.adapted.mask.cpu()
            if self._figures is not None:
                before = self._figures.add(self.image_name, visuals, self.adapted)
                for metric, figure in before.items():
                    self.metric_results[metric + BEFORE] += figure
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
        figures = self._figures = Figures(self.opt, dataloader.dataset.opt, current_iter, save_img)
        # BasicSR saves the result alone; the figures save it beside the other images.
        super().nondist_validation(dataloader, current_iter, tb_logger, save_img=False)
        self._figures = None
        figures.show(tb_logger)
        rows = figures.rows if self._shard is None else self._shard.gather(figures.rows)
        if not self.is_train and self.opt['rank'] == 0:
            figures.write(rows)

    def _initialize_best_metric_results(self, dataset_name: str) -> None:
        super()._initialize_best_metric_results(dataset_name)
        if self.adapt_opt is not None:
            record = self.best_metric_results[dataset_name]
            for name in self.opt['val']['metrics']:
                record.setdefault(name + BEFORE, dict(record[name]))
                self.metric_results.setdefault(name + BEFORE, 0)

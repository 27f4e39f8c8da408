"""Stage 2: meta-transfer learning."""

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor

from maxl_sr.adaptation import check_rates
from maxl_sr.archs.mask_arch import mask_of
from maxl_sr.meta import InnerRates, stored_bytes, transfer_loss
from maxl_sr.models.adaptive_model import AdaptiveModel
from maxl_sr.models.options import Options, kind_of_rates, transfer_options
from maxl_sr.models.outer_step import Losses
from maxl_sr.settings.adaptation import InnerLoop
from maxl_sr.utils.machine import free_memory


@MODEL_REGISTRY.register()
class MetaTransferModel(AdaptiveModel):
    """Stage 2, meta-transfer learning (Algorithm 2 of arXiv 2207.02066): trains for what K inner steps make of images.

    The outer loss is the sum over the samples of the batch, of all processes, of ``pixel_opt`` at the adapted weights
    (``inner``, on ``aux_opt``), and with ``inner: unadapted_weight`` at the weights before, too. L_G (``mask_opt``) is
    added to it. Without ``network_m`` the auxiliary loss is the plain one; without ``aux_opt`` nothing adapts and the
    model is fine-tuned on ``pixel_opt``. With ``inner: learn_lr`` the inner rates are trained as well (``optim_r``);
    they are saved with ``net_g`` and used at test.

    The keys are those of :class:`~maxl_sr.settings.training.MetaTransferTrain`.
    """

    options: Options[InnerLoop]

    @classmethod
    def check_options(cls, opt: Mapping[str, Any]) -> Options[InnerLoop]:
        return transfer_options(opt)

    def init_training_settings(self) -> None:
        inner = self.options.inner
        self._meta_gradient: str = inner.meta_gradient
        if inner.learn_lr != 'no':
            rates = self.options.rates
            if rates is None:
                _, learn_lr, steps = kind_of_rates(inner)
                rates = InnerRates(self.net_g, inner.lr * inner.loss_weight, inner.params, learn_lr, steps)
            else:
                get_root_logger().info('Inner rates: those of the checkpoint, in place of inner: lr')
            check_rates(rates, self.net_g)
            self.inner_rates = rates.to(self.device)
        super().init_training_settings()

    def setup_optimizers(self) -> None:
        optim_opt = dict(self.opt['train'].get('optim_r') or {})  # a copy first, as for optim_m
        super().setup_optimizers()
        if self.inner_rates is not None:
            self.optimizers.append(self.get_optimizer(optim_opt.pop('type'), self.inner_rates.parameters(),
                                                      **optim_opt))
        self._step = self.outer_step(self._outer_gradients, [self.net_g, self.net_m, self.inner_rates],
                                     self.optimizers)

    def optimize_parameters(self, current_iter: int) -> None:
        self.current_iter = current_iter
        if self._meta_gradient == 'auto':
            self._meta_gradient = self._choose_meta_gradient(self.lq)
        losses = self._step(self.lq, self.gt)
        self.log_dict = self.reduce_loss_dict(losses)

    def _choose_meta_gradient(self, lq: Tensor) -> str:
        """The fastest meta-gradient for which there is memory, measured on the first image."""
        if self.objective is None:
            return 'stored'
        inner = self.options.inner
        # Of copies: a graph that is not yet collected ties its weights to the stream in which it was made, and an
        # iteration with such weights cannot become a CUDA graph
        net, mask_net = copy.deepcopy(self.net_g), copy.deepcopy(self.net_m)
        with self.autocast():
            mask = None if mask_net is None else mask_of(mask_net, net, lq[:1])
            needed = stored_bytes(net, self.objective, lq[:1], mask, steps=inner.steps, params=inner.params)
        if inner.samples == 'together':
            needed *= len(lq)
        free = free_memory(self.device)
        choice = 'stored' if needed < free / 2 else 'replay'
        get_root_logger().info(f'meta_gradient: auto chooses {choice}: the graphs of {inner.steps} steps take '
                               f'{needed / 2**30:.2f} GiB, and {free / 2**30:.1f} GiB are free')
        return choice

    def _outer_gradients(self, lq: Tensor, gt: Tensor) -> Losses:
        """Leave the gradient of the outer loss."""
        with self.autocast():
            mask = self.mask_with_graph(lq)
            if self.objective is None:
                pairs = zip(self.net_g(lq).split(1), gt.split(1))
                loss = torch.stack([self.cri_pix(restored, clean) for restored, clean in pairs]).sum()
            else:
                inner = self.options.inner
                lr = inner.lr * inner.loss_weight if self.inner_rates is None else None
                rates = None if self.inner_rates is None else self.inner_rates(inner.steps)
                loss = transfer_loss(self.net_g, self.objective, self.cri_pix, lq, gt, mask,
                                     steps=inner.steps, lr=lr, rates=rates, params=inner.params,
                                     meta_gradient=self._meta_gradient, samples=inner.samples,
                                     unadapted_weight=inner.unadapted_weight)
        losses = OrderedDict(l_pix=loss.detach())
        if mask is not None and self.cri_mask is not None:
            with self.autocast():
                l_mask = self.cri_mask(mask, lq)
            losses['l_mask'] = l_mask.detach()
            loss = loss + l_mask / self.opt['world_size']  # a mean over all samples, where gradients are added up
        loss.backward()
        self.reduce_gradients(self.net_g, self.net_m, self.inner_rates, mean=False)
        if mask is not None:
            losses['mask_mean'] = mask.detach().mean()
        if self.inner_rates is not None:
            log_rates = torch.cat([rate.detach().flatten() for rate in self.inner_rates.parameters()])
            losses |= dict(inner_lr=log_rates.mean().exp(), inner_lr_min=log_rates.min().exp(),
                           inner_lr_max=log_rates.max().exp())
        return losses

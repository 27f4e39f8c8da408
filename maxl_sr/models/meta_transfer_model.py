"""Stage 2: meta-transfer learning."""

from collections import OrderedDict
from typing import Any

import torch
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY

from maxl_sr.adaptation import check_rates, saved_rates
from maxl_sr.errors import UserError
from maxl_sr.meta import InnerRates, stored_bytes, transfer_loss
from maxl_sr.models.adaptive_model import AdaptiveModel
from maxl_sr.models.outer_step import Losses
from maxl_sr.settings.adaptation import Compute, InnerLoop
from maxl_sr.settings.section import parse
from maxl_sr.settings.training import MetaTransferTrain
from maxl_sr.utils.machine import free_memory


@MODEL_REGISTRY.register()
class MetaTransferModel(AdaptiveModel):
    """Stage 2, meta-transfer learning (Algorithm 2 of arXiv 2207.02066): trains for what K inner steps make of images.

    The outer loss is the sum over the samples of the batch, of all processes, of ``pixel_opt`` at the adapted weights
    (``inner``, on ``aux_opt``), and with ``inner: unadapted_weight`` at the weights before, too. Without ``network_m``
    the auxiliary loss is the plain one; without ``aux_opt`` nothing adapts and the model is fine-tuned on
    ``pixel_opt``. With ``inner: learn_lr`` the inner rates are trained as well (``optim_r``); they are saved with
    ``net_g`` and used at test.

    The keys are those of :class:`~maxl_sr.settings.training.MetaTransferTrain`.
    """

    train_section = MetaTransferTrain

    @classmethod
    def check_options(cls, opt: dict[str, Any]) -> None:
        super().check_options(opt)
        if not opt['is_train']:
            return
        train_opt = opt['train']
        inner = parse(InnerLoop, train_opt.get('inner') or {}, 'train: inner')
        if inner.samples == 'together' and Compute.of(train_opt).autocast == 'bf16':
            raise UserError('train: autocast: bf16 needs inner: samples: one_by_one')  # vmap does not see autocast
        if inner.learn_lr == 'no':
            if train_opt.get('optim_r'):
                raise UserError('train: optim_r is given, but inner: learn_lr is no: there are no rates to train')
            if inner.per_step:
                raise UserError('train: inner: per_step is of learned rates; set learn_lr to tensor or parameter')
            return
        if train_opt.get('aux_opt') is None:
            raise UserError('train: inner: learn_lr is given, but aux_opt is missing: there are no inner steps')
        if not train_opt.get('optim_r'):
            raise UserError("train: inner: learn_lr is given, but train: key 'optim_r', the optimizer of the rates, "
                            'is missing')
        path = opt['path'].get('pretrain_network_g')
        saved = saved_rates(path)
        if saved is not None and saved.kind() != (wanted := cls._kind_of_rates(inner)):
            raise UserError(f'path: pretrain_network_g: the inner rates in {path} are for (params, learn_lr, steps) '
                            f'{saved.kind()}, those of this training for {wanted}')

    @staticmethod
    def _kind_of_rates(inner: InnerLoop) -> tuple[str, str, int]:
        return inner.params, inner.learn_lr, inner.steps if inner.per_step else 1

    @classmethod
    def _params_of_learned_rates(cls, opt: dict[str, Any]) -> str | None:
        if not opt['is_train']:
            return super()._params_of_learned_rates(opt)
        inner = parse(InnerLoop, opt['train'].get('inner') or {}, 'train: inner')
        return None if inner.learn_lr == 'no' else inner.params

    def init_training_settings(self) -> None:
        self.inner = inner = parse(InnerLoop, self.opt['train'].get('inner') or {}, 'train: inner')
        self._meta_gradient: str = inner.meta_gradient
        if inner.learn_lr != 'no':
            rates = saved_rates(self.opt['path'].get('pretrain_network_g'))
            if rates is None:
                rates = InnerRates(self.net_g, inner.lr * inner.loss_weight, inner.params, inner.learn_lr,
                                   inner.steps if inner.per_step else 1)
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
            self._meta_gradient = self._choose_meta_gradient()
        losses = self._step(self.lq, self.gt)
        self.log_dict = self.reduce_loss_dict(losses)

    def _choose_meta_gradient(self) -> str:
        """The fastest meta-gradient for which there is memory, measured on the first image."""
        if self.objective is None:
            return 'stored'
        inner = self.inner
        with self.autocast():
            mask = None if self.net_m is None else self.net_m(self.lq[:1])
            needed = stored_bytes(self.net_g, self.objective, self.lq[:1], mask, steps=inner.steps, params=inner.params)
        if inner.samples == 'together':
            needed *= len(self.lq)
        free = free_memory(self.device)
        choice = 'stored' if needed < free / 2 else 'replay'
        get_root_logger().info(f'meta_gradient: auto chooses {choice}: the graphs of {inner.steps} steps take '
                               f'{needed / 2**30:.2f} GiB, and {free / 2**30:.1f} GiB are free')
        return choice

    def _outer_gradients(self) -> Losses:
        """Leave the gradient of the outer loss."""
        with self.autocast():
            mask = self.mask_with_graph()
            if self.objective is None:
                pairs = zip(self.net_g(self.lq).split(1), self.gt.split(1))
                loss = torch.stack([self.cri_pix(restored, clean) for restored, clean in pairs]).sum()
            else:
                inner = self.inner
                rates = inner.lr * inner.loss_weight if self.inner_rates is None else self.inner_rates(inner.steps)
                loss = transfer_loss(self.net_g, self.objective, self.cri_pix, self.lq, self.gt, mask,
                                     steps=inner.steps, lr=rates, params=inner.params,
                                     meta_gradient=self._meta_gradient, samples=inner.samples,
                                     unadapted_weight=inner.unadapted_weight)
        loss.backward()
        self.reduce_gradients(self.net_g, self.net_m, self.inner_rates, mean=False)
        losses = OrderedDict(l_pix=loss.detach())
        if mask is not None:
            losses['mask_mean'] = mask.detach().mean()
        if self.inner_rates is not None:
            log_rates = torch.cat([rate.detach().flatten() for rate in self.inner_rates.parameters()])
            losses |= dict(inner_lr=log_rates.mean().exp(), inner_lr_min=log_rates.min().exp(),
                           inner_lr_max=log_rates.max().exp())
        return losses

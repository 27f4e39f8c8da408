"""Stage 2: meta-transfer learning."""

from collections import OrderedDict
from typing import Any

import torch
from basicsr.utils.registry import MODEL_REGISTRY

from maxl_sr.meta import transfer_loss
from maxl_sr.models.adaptive_model import AdaptiveModel
from maxl_sr.utils.options import InnerLoop, parse


@MODEL_REGISTRY.register()
class MetaTransferModel(AdaptiveModel):
    """Algorithm 2 of arXiv 2207.02066: both networks are trained for what the K inner steps make of every sample.

    The outer loss is the sum over the samples of the batch, of all processes, of ``pixel_opt`` at the adapted weights
    (``inner``, on ``aux_opt``). Without ``network_m`` the auxiliary loss is the plain one; without ``aux_opt`` nothing
    adapts and the model is fine-tuned on ``pixel_opt``.
    """

    @classmethod
    def check_options(cls, opt: dict[str, Any]) -> None:
        super().check_options(opt)
        if opt['is_train']:
            parse(InnerLoop, opt['train'].get('inner') or {}, 'train: inner')

    def init_training_settings(self) -> None:
        self.inner = parse(InnerLoop, self.opt['train'].get('inner') or {}, 'train: inner')
        super().init_training_settings()

    def optimize_parameters(self, current_iter: int) -> None:
        mask = None if self.net_m is None else self.net_m(self.lq)
        if self.objective is None:
            pairs = zip(self.net_g(self.lq).split(1), self.gt.split(1))
            loss = torch.stack([self.cri_pix(restored, clean) for restored, clean in pairs]).sum()
        else:
            inner = self.inner
            loss = transfer_loss(self.net_g, self.objective, self.cri_pix, self.lq, self.gt, mask, steps=inner.steps,
                                 lr=inner.lr, loss_weight=inner.loss_weight, params=inner.params,
                                 meta_gradient=inner.meta_gradient)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        for net in (self.net_g, self.net_m):
            if net is not None:
                self.reduce_gradients(net, mean=False)
        self.check_finite(loss, current_iter, self.net_g, self.net_m)
        for optimizer in self.optimizers:
            optimizer.step()
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)
        losses = OrderedDict(l_pix=loss.detach())
        if mask is not None:
            losses['mask_mean'] = mask.detach().mean()
        self.log_dict = self.reduce_loss_dict(losses)

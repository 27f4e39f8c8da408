"""Stage 1: meta-auxiliary learning."""

from collections import OrderedDict
from typing import Any

from basicsr.losses import build_loss
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor

from maxl_sr.errors import UserError
from maxl_sr.meta import maxl_loss, primary_and_auxiliary_loss
from maxl_sr.models.adaptive_model import AdaptiveModel
from maxl_sr.utils.options import VirtualStep, parse


@MODEL_REGISTRY.register()
class MAXLModel(AdaptiveModel):
    """Algorithm 1 of arXiv 2207.02066: ``train: alternate_every`` iterations of loop (a), then as many of (b), and so on.

    (a) trains the multi-task network on L_pri (``pixel_opt``) + L_aux (``aux_opt``); (b) trains the mask network on L_pri
    after a virtual step (``inner: lr``) + L_G (``mask_opt``). Without ``network_m`` every iteration is (a) with the plain
    auxiliary loss; without ``aux_opt`` with L_pri alone.
    """

    def init_training_settings(self) -> None:
        train_opt = self.opt['train']
        self.virtual_step = parse(VirtualStep, train_opt.get('inner') or {}, 'train: inner')
        self.cri_mask = build_loss(train_opt['mask_opt']).to(self.device) if train_opt.get('mask_opt') else None
        self.alternate_every: Any = train_opt.get('alternate_every')
        if self.opt.get('network_m') is not None and (type(self.alternate_every) is not int or self.alternate_every < 1):
            raise UserError(f'train: alternate_every must be a positive integer, not {self.alternate_every!r}')
        super().init_training_settings()

    def optimize_parameters(self, current_iter: int) -> None:
        if self.net_m is not None and (current_iter - 1) // self.alternate_every % 2:
            losses = self._train_mask_network(current_iter)
        else:
            losses = self._train_multi_task_network(current_iter)
        self.log_dict = self.reduce_loss_dict(losses)

    def _train_multi_task_network(self, current_iter: int) -> OrderedDict[str, Tensor]:
        mask = None if self.net_m is None else self.net_m(self.lq).detach()
        l_pix, l_aux = primary_and_auxiliary_loss(self.net_g, self.objective, self.cri_pix, self.lq, self.gt, mask)
        loss = l_pix + l_aux
        self.check_finite(loss, current_iter)
        self.optimizer_g.zero_grad()
        loss.backward()
        self.reduce_gradients(self.net_g)
        self.optimizer_g.step()
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)
        return OrderedDict(l_pix=l_pix.detach(), l_aux=l_aux.detach())

    def _train_mask_network(self, current_iter: int) -> OrderedDict[str, Tensor]:
        assert self.net_m is not None and self.optimizer_m is not None and self.objective is not None
        mask = self.net_m(self.lq)
        losses = OrderedDict(l_pix_virtual=maxl_loss(self.net_g, self.objective, self.cri_pix, self.lq, self.gt, mask,
                                                     lr=self.virtual_step.lr, average=self.reduce_tensors))
        if self.cri_mask is not None:
            losses['l_mask'] = self.cri_mask(mask, self.lq)
        loss = sum(losses.values())
        self.check_finite(loss, current_iter)
        self.optimizer_m.zero_grad()
        loss.backward()
        self.reduce_gradients(self.net_m)
        self.optimizer_m.step()
        losses['mask_mean'] = mask.mean()
        return OrderedDict((name, value.detach()) for name, value in losses.items())

"""Whether the networks fit the option file, and each other."""

from collections.abc import Mapping
from typing import Any

import torch

from maxl_sr.archs.mask_arch import mask_of
from maxl_sr.errors import UserError, telling
from maxl_sr.meta.network import is_multi_task


def check_scale(net: Any, opt: Mapping[str, Any]) -> None:
    """One pass through the network gives images of the scale of the option file."""
    size, scale = 32, opt.get('scale', 1)
    with telling('network_g'), torch.no_grad():
        x = torch.full((1, 3, size, size), 0.5)
        heads = is_multi_task(net)
        output = net.eval().forward_heads(net.forward_features(x), x)[0] if heads else net.eval()(x)
    if output.shape != (1, 3, scale * size, scale * size):
        raise UserError(f"network_g: {opt['network_g']['type']} makes {tuple(output.shape[2:])} pixels of "
                        f'{(size, size)}, which does not fit scale: {scale}')


def check_mask(mask_net: Any, net: Any, opt: Mapping[str, Any]) -> None:
    """One pass through the mask network gives a mask of the size of the image."""
    y = torch.full((1, 3, 32, 32), 0.5)
    with telling('network_m'), torch.no_grad():
        mask = mask_of(mask_net.eval(), net.eval(), y)
    if mask.shape != (1, 1, 32, 32):
        raise UserError(f"network_m: {opt['network_m']['type']} makes {tuple(mask.shape)} of {tuple(y.shape)}, not "
                        'a mask (1, 1, 32, 32)')

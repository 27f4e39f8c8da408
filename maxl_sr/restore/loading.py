"""What a test's option file, or a preset, describes: networks with their weights, and how they adapt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from maxl_sr.adaptation.checkpoint import check_rates, make_network, read_once, saved_rates
from maxl_sr.errors import UserError
from maxl_sr.meta import InnerRates
from maxl_sr.presets import PRESETS
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.settings.components import check_objective_section
from maxl_sr.settings.option_file import read_option_file
from maxl_sr.settings.section import parse
from maxl_sr.utils.packaged import find_option_file, find_weights


@dataclass(frozen=True)
class Trained:
    """Networks with their weights.

    Attributes:
        net: The network.
        section: Of the option file, that describes it.
        adapt: How it adapts; None: not at all.
        rates: Learned inner rates; None: there are none.
        mask_net: The mask network; None: there is none.
    """

    net: nn.Module
    section: Mapping[str, Any]
    adapt: Adapt | None = None
    rates: InnerRates | None = None
    mask_net: nn.Module | None = None


def of_preset(name: str) -> Trained:
    """Return what comes with the package under the name of a preset.

    Raises:
        UserError: There is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"there is no preset {name!r}; the package brings {', '.join(PRESETS)}")
    return of_options(PRESETS[name].options, f'weights/{name}.pth', f'weights/{name}_mask.pth')


def of_options(path: str, weights: str | None = None, mask_weights: str | None = None) -> Trained:
    """Return what an option file describes.

    Args:
        path: The option file, or the name of one of the package's.
        weights: Another checkpoint of the network.
        mask_weights: Another checkpoint of the mask network, where the option file has one.

    Raises:
        UserError: A file is missing or cannot be used; the message names it.
    """
    opt = read_option_file(find_option_file(path))
    if 'network_g' not in opt:
        raise UserError(f"{path}: key 'network_g' is missing")
    nets: dict[str, nn.Module] = {}
    with read_once():
        for name, given in (('network_g', weights), ('network_m', mask_weights)):
            if opt.get(name) is None and name == 'network_m':
                continue
            found = given or opt['path'].get(f'pretrain_{name}')
            if found is None:
                raise UserError(f"{path}: path: key 'pretrain_{name}' is missing")
            opt['path'][f'pretrain_{name}'] = find_weights(found)
            nets[name] = make_network(opt, name, load=True)
        rates = saved_rates(opt['path']['pretrain_network_g'])
    net, mask_net = nets['network_g'], nets.get('network_m')
    section = (opt.get('val') or {}).get('adapt')
    if section is None:
        return Trained(net, opt['network_g'], mask_net=mask_net)
    adapt, aux_opt = parse(Adapt, section, 'val: adapt'), (opt.get('train') or {}).get('aux_opt')
    if adapt.aux_opt is None and aux_opt is not None:
        adapt = adapt.with_objective(check_objective_section('train: aux_opt', aux_opt))
    if rates is not None and adapt.lr is None:
        check_rates(rates, net, adapt)
    return Trained(net, opt['network_g'], adapt, rates, mask_net)

"""The learned inner rates that a checkpoint holds beside the weights."""

from collections.abc import Mapping
from os import path as osp

from torch import Tensor, nn

from maxl_sr.errors import UserError
from maxl_sr.meta import InnerRates, adaptable_weights
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.utils.checkpoint import RATES_KEY, check_finite, load_checkpoint


def saved_rates(path: str | None) -> InnerRates | None:
    """Return the learned inner rates that a checkpoint of the multi-task network holds, if it does."""
    if path is None or not osp.isfile(path):  # a resumed training does not need the one that it began with
        return None
    where = 'path: pretrain_network_g'
    saved = load_checkpoint(where, path)
    if not isinstance(saved, Mapping) or RATES_KEY not in saved:
        return None
    state = saved[RATES_KEY]
    whole = isinstance(state, Mapping) and isinstance(state.get('covers_all'), Tensor) and len(state) > 1 and all(
        isinstance(value, Tensor) and value.numel() and (key == 'covers_all' or value.dim() and
                                                         value.is_floating_point() and key.startswith('log_rates.'))
        for key, value in state.items())
    if not whole or state['covers_all'].numel() != 1:
        raise UserError(f"{where}: {path}: what it has under '{RATES_KEY}' are no inner rates")
    check_finite(f'{where}: {path}: {RATES_KEY}', state)
    return InnerRates.from_state_dict(state)


def check_rates(rates: InnerRates, net: nn.Module, options: Adapt | None = None) -> None:
    """Refuse inner rates that lack one for a weight of `net` that adapts.

    Args:
        rates: The rates.
        net: The network.
        options: The section ``val: adapt`` that says what adapts and how; None: what they were learned for.

    Raises:
        UserError: The message names the first weight, or what the rates are for.
    """
    where = 'val: adapt: the learned rates are those of'
    if options is not None and options.optimizer != 'sgd':
        raise UserError(f'{where} optimizer: sgd; give a lr for {options.optimizer}')
    params = rates.params() if options is None else options.params
    lost = sorted(adaptable_weights(net, params).keys() - set(rates.names()))
    if lost and params != rates.params():
        raise UserError(f'{where} params: {rates.params()}; give a lr for {params}')
    if lost:
        raise UserError(f'path: pretrain_network_g: its inner rates lack one for {lost[0]}, which adapts; they were '
                        'learned with another head')

"""The networks of a trained row."""

from pathlib import Path
from typing import Any

from torch import nn

from maxl_sr.adaptation.checkpoint import make_network
from maxl_sr.errors import UserError
from scripts.reproduction.plan import Row
from scripts.reproduction.results import TRAINED


def network(opt: dict[str, Any], name: str, path: str) -> nn.Module:
    """Return the network that the section `name` describes, with the weights of a checkpoint."""
    found = make_network({**opt, 'path': {f'pretrain_{name}': path}}, name, load=True)
    return found.eval().requires_grad_(False)


def networks(row: Row) -> tuple[nn.Module, nn.Module | None, dict[str, Any]]:
    """Return the network of a row, its mask network and the options of its test.

    Raises:
        UserError: It has not been trained.
    """
    opt = row.tests.get(TRAINED) or row.tests['']
    path = opt['path']
    if not Path(path['pretrain_network_g']).exists():
        raise UserError(f'row {row.name}, seed {row.seed} has not been trained: there is no '
                        f"{path['pretrain_network_g']}")
    mask = network(opt, 'network_m', path['pretrain_network_m']) if 'network_m' in opt else None
    return network(opt, 'network_g', path['pretrain_network_g']), mask, opt

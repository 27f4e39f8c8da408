"""The files that hold weights: safetensors, and checkpoints of BasicSR."""

import importlib
import io

import torch
from torch import Tensor, nn

from maxl_sr.errors import UserError
from maxl_sr.export.probing import reason
from maxl_sr.export.source import Source


def _weights(net: nn.Module) -> dict[str, Tensor]:
    # Copies: safetensors refuses tensors that share memory
    return {name: weight.detach().contiguous().clone() for name, weight in net.state_dict().items()}


def to_safetensors(source: Source) -> bytes:
    """Return all weights of a network as a safetensors file, with its metadata.

    Raises:
        UserError: It has weights that such a file cannot hold.
    """
    save = importlib.import_module('safetensors.torch').save
    try:
        data: bytes = save(_weights(source.net), {'format': 'pt', **source.metadata()})
    except (KeyError, ValueError) as error:
        raise UserError(f'safetensors cannot hold the weights of this {source.architecture}; choose .pth '
                        f'({reason(error)})') from error
    return data


def to_pth(source: Source) -> bytes:
    """Return all weights of a network as a checkpoint of BasicSR, under the key ``params``."""
    file = io.BytesIO()
    torch.save({'params': _weights(source.net)}, file)
    return file.getvalue()

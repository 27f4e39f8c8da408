"""What a network makes of a few images of noise, and how errors of others are told."""

import numpy as np
import torch
from torch import Tensor, nn

from maxl_sr.errors import UserError
from maxl_sr.utils.files import failure
from maxl_sr.utils.memory import is_out_of_memory

SIZES = ((1, 37, 53), (2, 9, 40), (1, 64, 48))  # images, height, width
EVEN = 64  # sides are multiples of it where the network itself takes no others


def reason(error: Exception) -> str:
    """Return in a line what a library, or a network of one's own, has raised."""
    if isinstance(error, OSError):
        return failure(error)
    text = str(error if isinstance(error, UserError) else error.__cause__ or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


@torch.no_grad()
def probed(net: nn.Module, number: int, height: int, width: int, channels: int) -> tuple[Tensor, np.ndarray]:
    """Return images of noise, of about the given size, and what the network makes of them.

    Raises:
        UserError: The network fails of them.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(number, channels, height, width, generator=generator)
    try:
        return x, net(x).numpy()
    except (RuntimeError, AssertionError, ValueError):
        x = torch.rand(number, channels, *(-(-side // EVEN) * EVEN for side in (height, width)), generator=generator)
    try:
        return x, net(x).numpy()
    except Exception as error:  # a network of one's own may raise anything
        if is_out_of_memory(error):
            raise
        raise UserError(f'the network cannot restore an image of {x.shape[3]}×{x.shape[2]} '
                        f'({type(error).__name__}: {reason(error)})') from error

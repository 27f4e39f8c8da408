"""The contract of networks: what the inner loop, the tiles and the export ask of them."""

from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from maxl_sr.errors import UserError

HEADS = ('primary_head.', 'aux_head.')


@runtime_checkable
class MultiTaskNetwork(Protocol):
    """A network with a body and two heads. It must be an ``nn.Module``, too.

    Images are ``(B, C, H, W)`` in [0, 1]; outputs are not clamped. What else a network can say of itself, and what
    holds where it does not, is in :class:`Traits`.

    Examples:
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> isinstance(MultiTaskNet(), MultiTaskNetwork)
        True
    """

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the features of the image `x`, one tensor with the images as its first dimension."""
        ...

    def forward_primary(self, features: Tensor, x: Tensor) -> Tensor:
        """Return the restored image ``(B, C, sH, sW)`` from features and image, without the auxiliary head."""
        ...

    def forward_heads(self, features: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (restored image ``(B, C, sH, sW)``, reconstruction of `x`) from features and image."""
        ...


class Traits:
    """What a network says of itself in attributes of these names. None of them has to be there.

    Args:
        net: The network.

    Raises:
        UserError: When an attribute is read that the network has, but of the wrong kind.

    Examples:
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> traits = Traits(MultiTaskNet())
        >>> traits.scale, traits.multiple, traits.halo
        (1, 4, 76)
        >>> Traits(nn.Conv2d(3, 3, 3)).halo is None
        True
    """

    def __init__(self, net: nn.Module) -> None:
        self._net = net

    def stated(self, name: str) -> int | None:
        """Return the number that the network has under this name, None where it has none."""
        value = getattr(self._net, name, None)
        if value is not None and (type(value) is not int or value < 1):
            raise UserError(f'{type(self._net).__name__}: {name} must be an integer of at least 1, not {value!r}')
        return value

    @property
    def adaptable(self) -> tuple[str, ...]:
        """The beginnings of the names of the weights that ``params: heads`` adapts; absent: ``primary_head.`` and
        ``aux_head.``.
        """
        value = getattr(self._net, 'adaptable', HEADS)
        if not isinstance(value, tuple) or not all(isinstance(part, str) for part in value):
            raise UserError(f'{type(self._net).__name__}: adaptable must be a tuple of names, not {value!r}')
        return value

    @property
    def scale(self) -> int:
        """Enlargement s of the restored image; absent: 1."""
        return self.stated('scale') or 1

    @property
    def halo(self) -> int | None:
        """How many pixels beyond a tile its outputs depend on, a multiple of `multiple`; absent: None, and images are
        restored as a whole, never in tiles.
        """
        return self.stated('halo')

    @property
    def multiple(self) -> int:
        """What the sides of images, and the places where tiles begin, are multiples of; absent: 1."""
        return self.stated('multiple') or 1


def is_multi_task(network: nn.Module | type[nn.Module]) -> bool:
    """Return whether a network, or a class of networks, has the methods of :class:`MultiTaskNetwork`.

    Examples:
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> is_multi_task(MultiTaskNet), is_multi_task(nn.Conv2d(3, 3, 1))
        (True, False)
    """
    kind = network if isinstance(network, type) else type(network)
    return issubclass(kind, MultiTaskNetwork)


def check_multi_task(net: nn.Module) -> None:
    """Refuse a network without heads.

    Raises:
        UserError: It lacks a method of :class:`MultiTaskNetwork`.

    Examples:
        >>> from maxl_sr.archs.multitask_arch import MultiTaskNet
        >>> check_multi_task(MultiTaskNet())
    """
    if not is_multi_task(net):
        raise UserError(f'a {type(net).__name__} has no heads to adapt; use MultiTaskNet or WithAuxiliaryHead')

"""The multi-task networks for spandrel, by which ComfyUI and others find out what a file of weights holds."""

from collections.abc import Mapping
from typing import Any

import spandrel

from maxl_sr.archs.detection import NETWORKS, detect


def _kind(state_dict: Mapping[str, Any]) -> str | None:
    try:
        return str(detect(state_dict)['type'])
    except ValueError:
        return None


def hyper_parameters(state_dict: Mapping[str, Any]) -> dict[str, int]:
    """Return the arguments of the multi-task network that a state dict is of.

    With a single level `feat_step` changes nothing and leaves no trace; it is that of the default then.

    Args:
        state_dict: Weights by name, all of a :class:`MultiTaskNet` or a :class:`ParallelMultiTaskNet`.

    Raises:
        ValueError: They are of another network, or not all there.
    """
    return {key: value for key, value in detect(state_dict).items() if key != 'type'}


class _MultiTaskArch(spandrel.Architecture):
    """One of the two networks."""

    def __init__(self, kind: str) -> None:
        super().__init__(id=f'maxl_sr.{kind}', name=kind, detect=lambda state_dict: _kind(state_dict) == kind)
        self._kind = kind

    def load(self, state_dict: spandrel.StateDict) -> spandrel.ImageModelDescriptor:
        """Return the network with these weights, as spandrel describes it."""
        arguments = hyper_parameters(state_dict)
        scale, channels = arguments['scale'], arguments['num_in_ch']
        return spandrel.ImageModelDescriptor(
            NETWORKS[self._kind](**arguments), state_dict, architecture=self,
            purpose='Restoration' if scale == 1 else 'SR',
            tags=[f"{arguments['num_feat']}nf", f"{arguments['num_level']}nl", f"{arguments['num_block']}nb"],
            # On a CPU torch enlarges in single precision alone
            supports_half=scale == 1, supports_bfloat16=scale == 1,
            scale=scale, input_channels=channels, output_channels=channels)


def install(registry: spandrel.ArchRegistry = spandrel.MAIN_REGISTRY,
            ignore_duplicates: bool = True) -> list[spandrel.ArchSupport]:
    """Make spandrel know the multi-task networks, and return what was not there before; once more does no harm.

    Args:
        registry: Where they are added.
        ignore_duplicates: Whether those that are there already are left alone.

    Raises:
        ValueError: They are there already, and that is not to be ignored.
    """
    networks = (spandrel.ArchSupport.from_architecture(_MultiTaskArch(kind)) for kind in NETWORKS)
    return list(registry.add(*networks, ignore_duplicates=ignore_duplicates))

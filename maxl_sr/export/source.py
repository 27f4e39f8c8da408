"""What is exported: a network, as it was trained or adapted to a photograph."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from maxl_sr.archs.detection import detect
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.errors import UserError
from maxl_sr.export.probing import SIZES, probed, reason
from maxl_sr.meta.network import Traits
from maxl_sr.photo import Photo
from maxl_sr.restore import loading
from maxl_sr.restorer import Restorer
from maxl_sr.utils.files import shown
from maxl_sr.utils.memory import is_out_of_memory


@dataclass(frozen=True)
class Source:
    """A network and where it is from.

    Attributes:
        net: The network, on the CPU.
        name: Of the preset or of the option file.
        architecture: Its name in an option file.
        arguments: Those of the architecture.
        photo: The image that it is adapted to; None: to none.
        step: After how many steps the weights were kept; 0: those that were trained.
        license: What is known of the terms of use.
    """

    net: nn.Module
    name: str
    architecture: str
    arguments: dict[str, Any]
    photo: Path | None
    step: int
    license: str

    @property
    def scale(self) -> int:
        """Enlargement of the network."""
        return Traits(self.net).scale

    @property
    def channels(self) -> int:
        """Channels of the images."""
        number: int = self.arguments.get('num_in_ch', self.arguments.get('num_ch', 3))
        return number

    def metadata(self) -> dict[str, str]:
        """Return what a file tells about itself."""
        adapted = '' if self.photo is None else f', adapted to {self.photo.name} (step {self.step})'
        told = {'name': self.name, 'scale': str(self.scale), 'architecture': self.architecture,
                'arguments': json.dumps(self.arguments, default=str), 'license': self.license,
                'description': f'{self.name} of maxl_sr{adapted}: RGB in [0, 1] to the restored image, not clamped'}
        if self.photo is not None:
            told.update(adapted_to=self.photo.name, step=str(self.step))
        return told

def of_preset(name: str, device: str = 'auto', photo: Path | None = None, **options: Any) -> Source:
    """Return the network of a preset.

    Args:
        name: One of :data:`~maxl_sr.presets.PRESETS`.
        device: Where it is adapted.
        photo: To which image; None: to none.
        options: ``steps``, ``lr`` and ``guard`` of the adaptation.

    Raises:
        UserError: It cannot be adapted to the image, or not so.
    """
    trained = loading.of_preset(name)
    terms = f'Apache-2.0; the photographs of the training are for research only: see maxl_sr/weights/{name}.md'
    net, step = _adapted(Restorer.of(trained, device), name, photo, **options)
    return _checked(net, name, trained.section, photo, step, terms)


def of_options(path: str, weights: str | None = None, device: str = 'auto', photo: Path | None = None,
               **options: Any) -> Source:
    """Return the network of an option file.

    Args:
        path: Option file of a test.
        weights: Another checkpoint than that of the option file.
        device: As for :func:`of_preset`, and so on.
        photo: To which image; None: to none.
        options: ``steps``, ``lr`` and ``guard`` of the adaptation.

    Raises:
        UserError: A file cannot be used, or the network cannot be adapted to the image, or not so.
    """
    trained, name = loading.of_options(path, weights), shown(Path(path).stem)
    restorer = Restorer.of(trained, device)
    try:
        net, step = _adapted(restorer, name, photo, **options)
    except (UserError, OSError):
        raise
    except Exception as error:  # a network of one's own may raise anything
        if is_out_of_memory(error):
            raise
        raise UserError(f'{name} cannot be adapted ({type(error).__name__}: {reason(error)})') from error
    return _checked(net, name, trained.section, photo, step, 'of the weights: as whoever trained them says')


def _adapted(restorer: Restorer, name: str, photo: Path | None, steps: int | None = None, lr: float | None = None,
             guard: bool = True) -> tuple[nn.Module, int]:
    if photo is None:
        return restorer.adapted(np.zeros((8, 8, 3), np.float32), steps=0)
    if not restorer.adapts:
        raise UserError(f'--image: {name} has no objective to adapt on (val: adapt)')
    restorer.check(steps, lr)
    return restorer.adapted(Photo.read(photo).visible, steps, lr, guard)


def _checked(net: nn.Module, name: str, section: Mapping[str, Any], photo: Path | None, step: int,
             terms: str) -> Source:
    net = net.cpu().to(memory_format=torch.contiguous_format)
    arguments = detect(net.state_dict()) if isinstance(net, MultiTaskNet) else dict(section)
    source = Source(net, name, arguments.pop('type'), arguments, photo, step, terms)
    if photo is not None and not np.isfinite(probed(net, *SIZES[0], source.channels)[1]).all():
        raise UserError('the adaptation diverged: the restored image is not finite; choose a smaller lr')
    return source

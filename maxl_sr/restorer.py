"""Restore photographs with the weights that come with the package, or with your own."""

import copy
import math
import numbers
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maxl_sr.adaptation import Adapter
from maxl_sr.errors import UserError
from maxl_sr.images import check_integer, checked, opened
from maxl_sr.meta import BoundNet, InnerRates, Tiling, Traits, check_multi_task, realised
from maxl_sr.photo import Photo
from maxl_sr.restore.loading import Trained, of_options, of_preset
from maxl_sr.restore.masks import Masks
from maxl_sr.restore.memory import Result, in_memory, tile_size
from maxl_sr.restore.pixels import Watched, by_tiles, padded, sample, to_pixels, to_tensor
from maxl_sr.restore.precision import check_precision, computing, fastest
from maxl_sr.restore.restoration import Found, Restoration
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.utils.machine import find_device, keep_freed_memory, memory_format

__all__ = ['MOST_STEPS', 'SAMPLE', 'Restoration', 'Restorer']

SAMPLE = 2 ** 21  # pixels of an image that are adapted to
MOST_STEPS = 100_000


class Restorer:
    """Restores images with one network, adapting it to each of them.

    The weights of an image are its own: a restorer can be used by several threads at a time.

    Args:
        net: A multi-task network, trained; it is not changed.
        options: How to adapt, as in the section ``val: adapt`` of an option file; None: not at all.
        device: 'auto' (a GPU where there is one), or a device of torch.
        rates: Learned inner rates of every step by weight, where `options` give no rate.
        mask_net: A mask network, for the objective; None: none.
        precision: What the network computes in: 'float32', 'bfloat16', 'float16', or 'auto': the one in which it is
            fastest on the device, by a trial, see :func:`~maxl_sr.restore.precision.fastest`.

    Attributes:
        device: Where it computes.
        precision: What it computes in.

    Raises:
        ValueError: `device` is unknown or not there, `precision` is none, or the network has no heads.
    """

    def __init__(self, net: nn.Module, options: Adapt | None = None, device: str = 'auto',
                 rates: InnerRates | None = None, mask_net: nn.Module | None = None, precision: str = 'auto') -> None:
        check_precision(precision)
        self.device = find_device(device)
        check_multi_task(net)
        if self.device.type == 'cpu':
            keep_freed_memory()
        self._options = options
        traits = Traits(net)
        self._halo, self._multiple, self._scale = traits.halo, traits.multiple, traits.scale
        self._net = self._frozen(net)
        self._masks = (None if mask_net is None else
                       Masks(self._frozen(mask_net), self._net, self.device, self._multiple))
        self._adapter = (None if options is None else
                         Adapter(options, self._scale, copy.deepcopy(rates)).to(self.device))
        self.precision = fastest(self._net, self.device, self._multiple) if precision == 'auto' else precision

    def _frozen(self, net: nn.Module) -> nn.Module:
        net = copy.deepcopy(net).eval().requires_grad_(False).to(self.device)
        return net.to(memory_format=memory_format(self.device))

    @property
    def adapts(self) -> bool:
        """Whether there is an objective to adapt on."""
        return self._options is not None

    @property
    def scale(self) -> int:
        """Enlargement of the network."""
        return self._scale

    @property
    def steps(self) -> int:
        """Number of steps that are taken where none is given."""
        return 0 if self._options is None else self._options.steps

    @property
    def has_mask(self) -> bool:
        """Whether there is a mask network."""
        return self._masks is not None

    @classmethod
    def from_pretrained(cls, name: str = 'fast', device: str = 'auto', precision: str = 'auto') -> 'Restorer':
        """Return the restorer of a preset that comes with the package, weights and all; nothing is fetched.

        Args:
            name: One of :data:`~maxl_sr.presets.PRESETS`.
            device: As for the class.
            precision: As for the class.

        Raises:
            ValueError: There is no such preset, or `device` or `precision` is unknown.
        """
        return cls.of(of_preset(name), device, precision)

    @classmethod
    def from_options(cls, path: str, weights: str | None = None, device: str = 'auto',
                     mask_weights: str | None = None, precision: str = 'auto') -> 'Restorer':
        """Return the restorer that a test's option file describes: its networks, checkpoints and adaptation.

        Args:
            path: The option file, or the name of one of the package's.
            weights: Another checkpoint of the network.
            device: As for the class.
            mask_weights: Another checkpoint of the mask network, where the option file has one.
            precision: As for the class.

        Raises:
            ValueError: A file is missing or cannot be used; the message names it.
        """
        return cls.of(of_options(path, weights, mask_weights), device, precision)

    @classmethod
    def of(cls, trained: Trained, device: str = 'auto', precision: str = 'auto') -> 'Restorer':
        """Return the restorer of networks that were loaded with their weights; arguments as for the class."""
        return cls(trained.net, trained.adapt, device, trained.rates, trained.mask_net, precision)

    def restore(self, image: Any, output: str | Path | None = None, **options: Any) -> Any:
        """Return the restored image, of the size (times the scale), kind and range of the input.

        Args:
            image: ``(H, W, 3)``, ``(H, W, 1)`` or ``(H, W)``, uint8, uint16 or floating point in [0, 1], RGB; a tensor
                of that, with the channels first; an image of Pillow, grey or RGB; or the path of a file that
                :class:`~maxl_sr.photo.Photo` reads, whose restored image is an array.
            output: Where the restored file is written, with the metadata of that of `image`; its path is returned then.
            options: As for :meth:`run`.

        Raises:
            ValueError: The image is none, or an option is out of range.
        """
        if not isinstance(image, (str, os.PathLike)):
            if output is not None:
                raise UserError('output is for an image that is given by its path')
            pixels, back = opened(image)
            return back(self.run(pixels, **options).image)
        photo = Photo.read(os.fspath(image))
        restored = self.run(photo.visible, **options).image
        if output is None:
            return restored
        photo.write(restored, output)
        return Path(output)

    def run(self, image: np.ndarray, steps: int | None = None, lr: float | None = None, guard: bool = True,
            tile: int | None = None, sample_pixels: int | None = SAMPLE,
            progress: Callable[[int, float], None] | None = None,
            check: Callable[[], None] | None = None) -> Restoration:
        """Restore an image and tell how.

        Args:
            image: As for :meth:`restore`, an array.
            steps: Number of steps, at most where there is a guard; 0: no adaptation; None: that of the preset.
            lr: Step size; None: that of the preset.
            guard: Whether the guard decides, where the preset has one.
            tile: Side of the tiles in which larger images are computed, a multiple of the network's `multiple`; None:
                as large as the free memory allows. It does not change the result.
            sample_pixels: Larger images are adapted to about so many of their pixels, spread evenly; None: to all.
            progress: Is called after each step with its number, from 1, and the objective before it.
            check: Is called before each step and each tile. What it or `progress` raises ends the work there.

        Raises:
            ValueError: The image is none, an option is out of range, or the adaptation diverged.
            MemoryError: The memory does not suffice for the smallest tile.
        """
        start = time.perf_counter()
        pixels = checked(image)
        self.check(steps, lr, tile, sample_pixels)

        def restore(size: int) -> tuple[np.ndarray, np.ndarray | None, Found]:
            found = self._adapt(pixels, size, steps, lr, guard, sample_pixels, progress, check)
            mask = None
            if found.mask is not None:
                mask = found.mask[0, 0, :pixels.shape[0], :pixels.shape[1]].float().cpu().numpy()
            elif self._masks is not None:
                mask = self._masks.of_pixels(pixels, size)
            return self._restored(found, pixels, size, check), mask, found

        restored, mask, found = self._in_memory(tile, restore)
        shape = restored.shape[:2] if image.ndim == 2 else restored.shape
        return Restoration(restored.reshape(shape), found.steps, found.losses, time.perf_counter() - start, mask)

    def adapted(self, image: np.ndarray, steps: int | None = None, lr: float | None = None, guard: bool = True,
                tile: int | None = None, sample_pixels: int | None = SAMPLE) -> tuple[nn.Module, int]:
        """Return the network with the weights that :meth:`run` would restore the image by, and their step.

        Arguments and errors are those of :meth:`run`.

        Raises:
            ValueError: The input adapts (``params: input``), and not the network.
        """
        if self._options is not None and self._options.params == 'input' and steps != 0:
            raise UserError('params: input adapts no weights; there is no adapted network')
        pixels = checked(image)
        self.check(steps, lr, tile, sample_pixels)
        found = self._in_memory(tile, lambda size: self._adapt(pixels, size, steps, lr, guard, sample_pixels))
        found.net.load_state_dict(realised(found.net, found.weights or {})[0], strict=False)
        return found.net, found.steps

    def mask(self, image: np.ndarray) -> np.ndarray | None:
        """Return the mask ``(H, W)`` in (0, 1) of an image as for :meth:`run`; None: there is no mask network."""
        masks = self._masks
        if masks is None:
            return None
        pixels = checked(image)
        return self._in_memory(None, lambda size: masks.of_pixels(pixels, size))

    def _in_memory(self, tile: int | None, compute: Callable[[int], Result]) -> Result:
        """Return what `compute` returns with tiles of a size that the memory suffices for, or of the given one."""
        def computed(size: int) -> Result:
            with computing(self.device, self.precision):
                return compute(size)

        return in_memory(computed, tile or self._tile_size(), smaller=tile is None and self._halo is not None)

    def check(self, steps: int | None = None, lr: float | None = None, tile: int | None = None,
              sample_pixels: int | None = SAMPLE) -> None:
        """Refuse options of :meth:`run` that are out of range.

        Raises:
            ValueError: The message names the option.
        """
        if self._options is None and (steps or lr is not None):
            raise UserError('steps, lr: this network has no objective to adapt on (val: adapt)')
        if steps is not None:
            check_integer('steps', steps, 0, MOST_STEPS)
        if sample_pixels is not None:
            check_integer('sample_pixels', sample_pixels, 1)
        if lr is not None and not (isinstance(lr, numbers.Real) and 0 < lr < math.inf):
            raise UserError(f'lr must be greater than 0, not {lr!r}')
        if tile is not None:
            check_integer('tile', tile, 1)
            if tile % self._multiple:
                raise UserError(f'tile must be a multiple of {self._multiple}, not {tile!r}')

    def _tile_size(self) -> int:
        return tile_size(self._net, self._halo or 0, self.device)

    def _tiling(self, size: int, check: Callable[[], None] | None = None) -> Tiling | None:
        return None if self._halo is None else Watched(size, self._halo, self._multiple, check)

    @torch.no_grad()
    def _adapt(self, pixels: np.ndarray, size: int, steps: int | None, lr: float | None, guard: bool,
               sample_pixels: int | None, progress: Callable[[int, float], None] | None = None,
               check: Callable[[], None] | None = None) -> Found:
        net = copy.deepcopy(self._net)  # while weights are replaced in a network, another thread must not use it
        if self._adapter is None or steps == 0:
            return Found(net, None, None, 0, [])
        whole = self._adapter.options.params == 'input'  # an offset of every pixel: of all of them, at once
        seen = pixels if sample_pixels is None or whole else sample(pixels, sample_pixels)
        y = to_tensor(seen, padded(seen, self._multiple), self.device)
        mask = None if self._masks is None else self._masks.of(y, size)
        found = self._adapter.private().adapt(net, y, mask, steps=steps, lr=lr, guard=guard,
                                              tiling=None if whole else self._tiling(size, check))
        losses = []
        for step, (_, loss) in enumerate(found, start=1):
            losses.append(loss.item())
            if progress is not None:
                progress(step, losses[-1])
            if check is not None:
                check()
        if seen is not pixels:  # what was seen is not the image
            return Found(net, None, found.weights, found.step, losses)
        return Found(net, found.task, found.weights, found.step, losses, mask)

    @torch.no_grad()
    def _restored(self, found: Found, pixels: np.ndarray, size: int,
                  check: Callable[[], None] | None = None) -> np.ndarray:
        if found.task is not None:  # which has the features of the image
            return to_pixels(found.task.restored(found.weights or {}), pixels, self._scale)

        def compute(y: Tensor, read: np.ndarray) -> np.ndarray:
            return to_pixels(BoundNet(found.net, y, found.weights).restored(), read, self._scale)

        return by_tiles(compute, pixels, self._tiling(size, check), self.device, self._multiple, self._scale)

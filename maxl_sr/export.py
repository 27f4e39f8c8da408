"""A network for other programs, without adaptation: as ONNX, safetensors or a checkpoint of BasicSR."""

import argparse
import importlib
import io
import json
import logging
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maxl_sr.archs.detection import detect
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.errors import UserError
from maxl_sr.meta.network import Traits
from maxl_sr.photo import Photo
from maxl_sr.preflight import read_option_file
from maxl_sr.presets import PRESETS
from maxl_sr.restorer import Restorer
from maxl_sr.utils.files import check_file, check_folder, failure, path_argument, remove_partial_files, replacing, shown
from maxl_sr.utils.packaged import find_option_file

LIBRARIES = {'.onnx': ('onnx', 'onnxscript', 'onnxruntime'), '.safetensors': ('safetensors.torch', ), '.pth': ()}
FORMATS = {'.onnx': 'ONNX', '.safetensors': 'safetensors'}
OPSET, IR_VERSION = 18, 8  # which runtimes since 2023 read
SIZES = ((1, 37, 53), (2, 9, 40), (1, 64, 48))  # images, height, width
EVEN = 64  # sides are multiples of it where the network itself takes no others
EXAMPLE = (2, 37, 78)  # odd, so that what is done to odd sides is not left out
TOLERANCE = 1e-4
TAPS = 5  # pixels that an enlarged one is of: two to either side


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
        return self.arguments.get('num_in_ch', self.arguments.get('num_ch', 3))

    def metadata(self) -> dict[str, str]:
        """Return what a file tells about itself."""
        adapted = '' if self.photo is None else f', adapted to {self.photo.name} (step {self.step})'
        told = {'name': self.name, 'scale': str(self.scale), 'architecture': self.architecture,
                'arguments': json.dumps(self.arguments), 'license': self.license,
                'description': f'{self.name} of maxl_sr{adapted}: RGB in [0, 1] to the restored image, not clamped'}
        if self.photo is not None:
            told.update(adapted_to=self.photo.name, step=str(self.step))
        return told


class Enlargement(nn.Module):
    """Bicubic enlargement by s as a convolution, equal to :func:`~maxl_sr.archs.multitask_arch.enlarge`.

    Runtimes know no resizing that leaves out what is beyond the border, or only some of them. Images ``(B, C, H, W)``
    to ``(B, C, sH, sW)``.

    Args:
        channels: C.
        scale: s.
    """

    kernel: Tensor

    def __init__(self, channels: int, scale: int) -> None:
        super().__init__()
        self.channels, self.scale = channels, scale
        centres = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale  # of the s new pixels, in the old one
        pixels = torch.arange(TAPS, dtype=torch.float64) - TAPS // 2 + 0.5
        distance = (pixels - centres[:, None]).abs()
        near = 1.5 * distance ** 3 - 2.5 * distance ** 2 + 1  # Keys' kernel, a = −1/2
        far = -0.5 * distance ** 3 + 2.5 * distance ** 2 - 4 * distance + 2
        weights = near * (distance <= 1) + far * ((distance > 1) & (distance < 2))
        kernel = torch.einsum('iy,jx->ijyx', weights, weights).reshape(scale ** 2, 1, TAPS, TAPS)
        self.register_buffer('kernel', kernel.float())

    def forward(self, x: Tensor) -> Tensor:
        sums = F.conv2d(x, self.kernel.repeat(self.channels, 1, 1, 1), padding=TAPS // 2, groups=self.channels)
        inside = F.conv2d(torch.ones_like(x[:1, :1]), self.kernel, padding=TAPS // 2)  # of the weights, per pixel
        return F.pixel_shuffle(sums, self.scale) / F.pixel_shuffle(inside, self.scale)


class Enlarging(nn.Module):
    """A multi-task network of a scale s > 1 with that enlargement: images ``(B, C, H, W)`` to ``(B, C, sH, sW)``.

    Args:
        net: The network, which is used as it is.
        channels: C.
    """

    def __init__(self, net: MultiTaskNet, channels: int) -> None:
        super().__init__()
        self.net, self.enlargement = net, Enlargement(channels, net.scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.enlargement(x) + self.net.primary_head(self.net.forward_features(x))


# ---- the formats --------------------------------------------------------------------------------------------------

def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return failure(error)
    text = str(error if isinstance(error, UserError) else error.__cause__ or error).strip()
    return text.splitlines()[0] if text else type(error).__name__


@torch.no_grad()
def _restored(net: nn.Module, number: int, height: int, width: int, channels: int) -> tuple[Tensor, np.ndarray]:
    """Return images of noise, of about the given size, and what the network makes of them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(number, channels, height, width, generator=generator)
    try:
        return x, net(x).numpy()
    except (RuntimeError, AssertionError, ValueError):
        x = torch.rand(number, channels, *(-(-side // EVEN) * EVEN for side in (height, width)), generator=generator)
        return x, net(x).numpy()


def _converted(source: Source) -> Any:
    """Return the network as an ``onnx.ModelProto`` for any number of images of any size."""
    net = source.net
    if isinstance(net, MultiTaskNet) and net.scale > 1:
        net = Enlarging(net, source.channels).eval()
    free = torch.export.Dim.DYNAMIC
    disabled = logging.root.manager.disable
    try:
        logging.disable(logging.CRITICAL)  # of torch, whose reasons are told below
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter('ignore')
            example, _ = _restored(net, *EXAMPLE, source.channels)
            program = torch.onnx.export(net, (example, ), dynamo=True, verbose=False, opset_version=OPSET,
                                        input_names=['image'], output_names=['restored'],
                                        dynamic_shapes=({0: free, 2: free, 3: free}, ))
    except Exception as error:  # of torch's many, none tells more than another
        raise UserError(f'torch cannot export this {source.architecture} to ONNX for images of any size; '
                        f'choose .safetensors or .pth ({_reason(error)})') from error
    finally:
        logging.disable(disabled)
    assert program is not None
    return program.model_proto


def _tidied(model: Any, source: Source) -> Any:
    """Return an ``onnx.ModelProto`` with names of its own, the metadata, and nothing of this machine."""
    onnx = importlib.import_module('onnx')
    graph = model.graph
    graph.name = source.name
    model.ir_version = IR_VERSION
    model.doc_string = source.metadata()['description']
    del graph.value_info[:]
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
    for node in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        node.doc_string = ''
    enlarged = '' if source.scale == 1 else f'{source.scale}*'
    for values, factor in ((graph.input, ''), (graph.output, enlarged)):
        dims = values[0].type.tensor_type.shape.dim
        for index, name in ((0, 'batch'), (2, f'{factor}height'), (3, f'{factor}width')):
            dims[index].dim_param = name
    onnx.helper.set_model_props(model, source.metadata())
    return model


@torch.no_grad()
def difference(model: bytes, net: nn.Module, channels: int = 3) -> float:
    """Return the largest difference between an ONNX model in onnxruntime and its network in torch, on a few images.

    Args:
        model: The ONNX model.
        net: The network, on the CPU.
        channels: C of the images ``(B, C, H, W)``, which have the sizes :data:`SIZES`.

    Raises:
        UserError: The runtime cannot compute it.
    """
    runtime = importlib.import_module('onnxruntime')
    found = []
    other = 'the ONNX model that torch makes of this network'
    options = runtime.SessionOptions()
    options.log_severity_level = 4  # what is wrong is told below
    options.intra_op_num_threads = torch.get_num_threads()
    for number, height, width in SIZES:
        x, expected = _restored(net, number, height, width, channels)
        try:
            session = runtime.InferenceSession(model, options, providers=['CPUExecutionProvider'])
            restored = session.run(None, {'image': x.numpy()})[0]
        except Exception as error:  # the runtime's have no class in common
            raise UserError(f'{other} cannot be run on an image of {x.shape[3]}×{x.shape[2]} '
                            f'({_reason(error)})') from error
        if restored.shape != expected.shape:
            raise UserError(f'{other} gives an image of {restored.shape}, the network of {expected.shape}')
        found.append(float(np.abs(restored - expected).max()))
    return float(np.max(found))  # NaN where any is


def to_onnx(source: Source) -> tuple[bytes, float]:
    """Return a network as an ONNX model ``image`` → ``restored`` for any batch, height and width, and its difference.

    Args:
        source: The network.

    Raises:
        UserError: torch cannot export it, or the model restores another image than the network.
    """
    model: bytes = _tidied(_converted(source), source).SerializeToString()
    found = difference(model, source.net, source.channels)
    if not found <= TOLERANCE:
        raise UserError(f'the ONNX model differs from the network by {found:.1g}, more than {TOLERANCE:g}; '
                        'nothing was written')
    return model, found


def _weights(net: nn.Module) -> dict[str, Tensor]:
    # Copies: safetensors refuses tensors that share memory
    return {name: weight.detach().contiguous().clone() for name, weight in net.state_dict().items()}


def to_safetensors(source: Source) -> bytes:
    """Return all weights of a network as a safetensors file, with its metadata."""
    save = importlib.import_module('safetensors.torch').save
    return save(_weights(source.net), {'format': 'pt', **source.metadata()})


def to_pth(source: Source) -> bytes:
    """Return all weights of a network as a checkpoint of BasicSR, under the key ``params``."""
    file = io.BytesIO()
    torch.save({'params': _weights(source.net)}, file)
    return file.getvalue()


# ---- command line -------------------------------------------------------------------------------------------------

def _parser() -> argparse.ArgumentParser:
    called = sys.argv[0] if sys.argv[0].startswith('maxl-sr ') else 'python -m maxl_sr.export'
    parser = argparse.ArgumentParser(prog=called, description=__doc__)
    parser.add_argument('-o', '--output', type=path_argument, required=True, metavar='FILE',
                        help='.onnx, .safetensors or .pth; written over if it is there')
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument('--preset', choices=PRESETS, default='fast', help='(default: %(default)s)')
    choice.add_argument('-opt', metavar='OPTION_FILE', help="option file of a test with a network of one's own")
    parser.add_argument('--weights', metavar='FILE', help='with -opt: another checkpoint')
    parser.add_argument('--image', type=path_argument, metavar='PHOTO', help='adapt the weights to this photograph')
    parser.add_argument('--steps', type=int, help='with --image: steps at most (default: of the preset)')
    parser.add_argument('--lr', type=float, help='with --image: step size (default: of the preset)')
    parser.add_argument('--no-guard', action='store_true', help='with --image: take all steps')
    parser.add_argument('--device', default='auto',
                        help='for the adaptation: cpu, cuda, … (default: a GPU where there is one)')
    return parser


def _check(args: argparse.Namespace) -> None:
    suffix = args.output.suffix.lower()
    if suffix not in LIBRARIES:
        raise UserError(f"-o {shown(args.output)}: the ending must be one of {', '.join(LIBRARIES)}")
    if os.path.isdir(args.output):
        raise UserError(f'-o {args.output} is a folder; name a file')
    if not os.path.isdir(args.output.parent):
        raise UserError(f'-o {shown(args.output)}: there is no folder {shown(args.output.parent)}')
    check_folder(args.output.parent, '-o ')
    if os.path.exists(args.output):
        check_file(args.output)
    remove_partial_files([args.output.parent])
    if args.weights is not None and args.opt is None:
        raise UserError('--weights is for an option file (-opt)')
    if args.image is None and (args.steps is not None or args.lr is not None or args.no_guard):
        raise UserError('--steps, --lr and --no-guard are for an --image to adapt to')
    for given in (args.image, args.opt, args.weights):
        if given is not None and os.path.exists(args.output) and os.path.exists(given) and args.output.samefile(given):
            raise UserError(f'-o {args.output}: {given} would be written over')
    for library in LIBRARIES[suffix]:
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise UserError(f"export to {FORMATS[suffix]} needs the extra 'export': "
                            "pip install 'maxl_sr[export]'") from error


def _source(args: argparse.Namespace) -> Source:
    path = PRESETS[args.preset].options if args.opt is None else args.opt
    if args.opt is None:
        restorer, name = Restorer.from_pretrained(args.preset, args.device), args.preset
        terms = ('Apache-2.0; the photographs of the training are for research only: '
                 f'see maxl_sr/weights/{args.preset}.md')
    else:
        restorer, name = Restorer.from_options(args.opt, args.weights, args.device), shown(Path(args.opt).stem)
        terms = 'of the weights: as whoever trained them says'
    section = read_option_file(find_option_file(path))['network_g']
    if args.image is None:
        net, step = restorer.adapted(np.zeros((8, 8, 3), np.float32), steps=0)
    elif not restorer.adapts:
        raise UserError(f'--image: {name} has no objective to adapt on (val: adapt)')
    else:
        restorer.check(args.steps, args.lr)
        net, step = restorer.adapted(Photo.read(args.image).visible, args.steps, args.lr, not args.no_guard)
    net = net.cpu().to(memory_format=torch.contiguous_format)
    arguments = detect(net.state_dict()) if isinstance(net, MultiTaskNet) else dict(section)
    source = Source(net, name, arguments.pop('type'), arguments, args.image, step, terms)
    if args.image is not None and not np.isfinite(_restored(net, *SIZES[0], source.channels)[1]).all():
        raise UserError('the adaptation diverged: the restored image is not finite; choose a smaller lr')
    return source


def export(args: argparse.Namespace) -> str:
    """Write the file that the arguments ask for and return what there is to tell.

    Raises:
        UserError: A mistake in the arguments, or the network cannot be written so.
    """
    _check(args)
    source = _source(args)
    told = []
    if args.image is not None:
        told.append(f'adapted to {shown(args.image)}: ' + (
            f'step {source.step}' if source.step else 'none of the steps was kept, the weights are the trained ones'))
    suffix, note = args.output.suffix.lower(), ''
    if suffix == '.onnx':
        data, found = to_onnx(source)
        note = f'; onnxruntime and torch differ by {found:.1g} at most ({len(SIZES)} sizes)'
    else:
        data = to_safetensors(source) if suffix == '.safetensors' else to_pth(source)
    with replacing(args.output) as partial:
        partial.write_bytes(data)
    told.append(f'{shown(args.output)}: {source.name}, {len(data) / 1e6:.1f} MB{note}')
    return '\n'.join(told)


def main() -> int:
    """Export a network; return the exit code: 2 for a mistake, 130 after Ctrl-C."""
    args = _parser().parse_args()
    try:
        print(export(args))
    except Exception as error:  # a network of one's own may raise anything
        known = isinstance(error, (ValueError, OSError, MemoryError))
        print(f"error: {'' if known else type(error).__name__ + ': '}{shown(_reason(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('interrupted; nothing was written', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())

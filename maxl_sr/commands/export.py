"""``maxl-sr export``: a network for other programs, as ONNX, safetensors or a checkpoint of BasicSR."""

import argparse
import importlib
import os
from pathlib import Path
from typing import Any

from maxl_sr.errors import UserError
from maxl_sr.presets import PRESETS
from maxl_sr.utils.files import (
    check_file,
    check_folder,
    check_length,
    path_argument,
    remove_partial_files,
    replacing,
    shown,
)
from maxl_sr.utils.packaged import find_option_file

INTERRUPTED = 'nothing was written'
LIBRARIES = {'.onnx': ('onnx', 'onnxscript', 'onnxruntime'), '.safetensors': ('safetensors.torch', ), '.pth': ()}
FORMATS = {'.onnx': 'ONNX', '.safetensors': 'safetensors'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = 'A network for other programs, without adaptation: as ONNX, safetensors or a checkpoint of ' \
                         'BasicSR.'
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


def _check(args: argparse.Namespace) -> None:
    output: Path = args.output
    check_length(output, '-o ')
    if output.suffix.lower() not in LIBRARIES:
        raise UserError(f"-o {shown(output)}: the ending must be one of {', '.join(LIBRARIES)}")
    if os.path.isdir(output):
        raise UserError(f'-o {output} is a folder; name a file')
    if not os.path.isdir(output.parent):
        raise UserError(f'-o {shown(output)}: there is no folder {shown(output.parent)}')
    check_folder(output.parent, '-o ')
    if os.path.exists(output):
        check_file(output)
    remove_partial_files([output.parent])
    if args.weights is not None and args.opt is None:
        raise UserError('--weights is for an option file (-opt)')
    if args.image is None and (args.steps is not None or args.lr is not None or args.no_guard):
        raise UserError('--steps, --lr and --no-guard are for an --image to adapt to')
    for given in (args.image, args.opt, args.weights):
        if given is not None and os.path.exists(output) and os.path.exists(given) and output.samefile(given):
            raise UserError(f'-o {output}: {given} would be written over')
    if args.image is not None:
        check_file(args.image)
    if args.opt is not None:
        find_option_file(args.opt)


def _check_libraries(suffix: str) -> None:
    for library in LIBRARIES[suffix]:
        try:
            importlib.import_module(library)
        except ImportError as error:
            raise UserError(f"export to {FORMATS[suffix]} needs the extra 'export': "
                            "pip install 'maxl_sr[export]'") from error


def run(args: argparse.Namespace) -> int:
    """Write the file and return the exit code."""
    _check(args)
    suffix = args.output.suffix.lower()

    import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
    _check_libraries(suffix)
    from maxl_sr.export.files import to_pth, to_safetensors
    from maxl_sr.export.onnx_model import to_onnx
    from maxl_sr.export.probing import SIZES
    from maxl_sr.export.source import of_options, of_preset

    how: dict[str, Any] = {'device': args.device, 'photo': args.image, 'steps': args.steps, 'lr': args.lr,
                           'guard': not args.no_guard}
    source = of_preset(args.preset, **how) if args.opt is None else of_options(args.opt, args.weights, **how)
    told, note = [], ''
    if args.image is not None:
        told.append(f'adapted to {shown(args.image)}: ' + (
            f'step {source.step}' if source.step else 'none of the steps was kept, the weights are the trained ones'))
    if suffix == '.onnx':
        data, found = to_onnx(source)
        note = f'; onnxruntime and torch differ by {found:.1g} at most ({len(SIZES)} sizes)'
    else:
        data = to_safetensors(source) if suffix == '.safetensors' else to_pth(source)
    with replacing(args.output) as partial:
        partial.write_bytes(data)
    told.append(f'{shown(args.output)}: {source.name}, {len(data) / 1e6:.1f} MB{note}')
    print('\n'.join(told))
    return 0

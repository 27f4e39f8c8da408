"""ONNX models of any batch, height and width, compared with their network before they are written."""

import importlib
import logging
import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.errors import UserError
from maxl_sr.export.enlargement import Enlarging
from maxl_sr.export.probing import SIZES, probed, reason
from maxl_sr.export.source import Source

OPSET, IR_VERSION = 18, 8  # which runtimes since 2023 read
EXAMPLE = (2, 37, 78)  # odd, so that what is done to odd sides is not left out
TOLERANCE = 1e-4


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
            example, _ = probed(net, *EXAMPLE, source.channels)
            program = torch.onnx.export(net, (example, ), dynamo=True, verbose=False, opset_version=OPSET,
                                        input_names=['image'], output_names=['restored'],
                                        dynamic_shapes=({0: free, 2: free, 3: free}, ))
    except Exception as error:  # of torch's many, none tells more than another
        raise UserError(f'torch cannot export this {source.architecture} to ONNX for images of any size; '
                        f'choose .safetensors or .pth ({reason(error)})') from error
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
        x, expected = probed(net, number, height, width, channels)
        try:
            session = runtime.InferenceSession(model, options, providers=['CPUExecutionProvider'])
            restored = session.run(None, {'image': x.numpy()})[0]
        except Exception as error:  # the runtime's have no class in common
            raise UserError(f'{other} cannot be run on an image of {x.shape[3]}×{x.shape[2]} '
                            f'({reason(error)})') from error
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

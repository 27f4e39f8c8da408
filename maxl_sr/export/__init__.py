"""A network for other programs, without adaptation: as ONNX, safetensors or a checkpoint of BasicSR."""

from typing import TYPE_CHECKING

from maxl_sr.utils.lazy import lazy

if TYPE_CHECKING:
    from maxl_sr.commands.doors import export as main
    from maxl_sr.export.enlargement import Enlargement, Enlarging
    from maxl_sr.export.files import to_pth, to_safetensors
    from maxl_sr.export.onnx_model import difference, to_onnx
    from maxl_sr.export.source import Source

__all__ = ['Enlargement', 'Enlarging', 'Source', 'difference', 'main', 'to_onnx', 'to_pth', 'to_safetensors']
__getattr__ = lazy(__name__, {
    'Enlargement': 'maxl_sr.export.enlargement:Enlargement',
    'Enlarging': 'maxl_sr.export.enlargement:Enlarging',
    'Source': 'maxl_sr.export.source:Source',
    'difference': 'maxl_sr.export.onnx_model:difference',
    'main': 'maxl_sr.commands.doors:export',
    'to_onnx': 'maxl_sr.export.onnx_model:to_onnx',
    'to_pth': 'maxl_sr.export.files:to_pth',
    'to_safetensors': 'maxl_sr.export.files:to_safetensors',
})

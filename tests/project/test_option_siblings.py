"""Option files that belong together differ in the keys that are named here, and in no other."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from maxl_sr.utils.packaged import option_folder

NAME = {'name'}
WEIGHTS = {'path:pretrain_network_g'}
WIDTH = {'network_g:num_feat', 'network_g:feat_step'}
LENGTH = {'train:total_iter', 'train:scheduler:periods', 'train:scheduler:restart_weights'}
SCALE = {'scale', 'network_g:scale', 'network_g:base:upscale', 'datasets:train:gt_size'}
SIBLINGS = {
    ('denoise/fast_base', 'denoise/best_base'): WIDTH | LENGTH | WEIGHTS | {'datasets:train:batch_size_per_gpu',
                                                                           'train:optim_g:lr'},
    ('denoise/fast', 'denoise/best'): WIDTH | LENGTH | WEIGHTS,
    ('denoise/test_fast', 'denoise/test_best'): WIDTH | WEIGHTS,
    ('denoise/fast', 'denoise/fast_plain'): {'train:aux_opt', 'train:inner', 'val:adapt:aux_opt'},
    ('denoise/test_fast', 'denoise/test_paper'): WEIGHTS | {'network_m', 'path:pretrain_network_m', 'path:param_key_g',
                                                           'val:adapt'},
    ('sr/x2', 'sr/x4'): SCALE,
    ('sr/msrresnet_x2', 'sr/msrresnet_x4'): SCALE,
    ('sr/edsr_x2', 'sr/edsr_x4'): SCALE | LENGTH,
    ('cpu/baseline_ridnet', 'cpu/baseline_mirnet'): {'network_g'},
    ('cpu/test_ridnet', 'cpu/test_mirnet'): WEIGHTS | {'network_g'},
    ('paper/test_ridnet', 'paper/test_mirnet'): WEIGHTS | {'network_g'},
    ('paper/baseline_ridnet', 'paper/baseline_mirnet'): {'network_g', 'train:optim_g:lr'},
    ('paper/test_nam', 'paper/test_nam_adam'): {'val:adapt:optimizer'},
    ('deblur/test_motion', 'deblur/test_motion_mtl'): WEIGHTS | {'network_m', 'path:pretrain_network_m',
                                                                'val:adapt:lr', 'val:adapt:optimizer'},
}


def leaves(value: Any, place: str = '') -> Iterator[tuple[str, Any]]:
    """The values of an option file, each with its place."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f'{place}:{key}' if place else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value):
            yield from leaves(inner, f'{place}:{number}')
    else:
        yield place, value


@pytest.mark.parametrize('pair', SIBLINGS, ids=' '.join)
def test_siblings_differ_in_named_keys_only(pair):
    first, second = (dict(leaves(yaml.safe_load((option_folder() / f'{name}.yml').read_text(encoding='utf-8'))))
                     for name in pair)
    differ = {key for key in first.keys() | second.keys() if key not in first or key not in second
              or first[key] != second[key]}
    allowed = SIBLINGS[pair] | NAME
    assert {key for key in differ if not any(f'{key}:'.startswith(f'{name}:') for name in allowed)} == set()
    assert 'name' in differ


@pytest.mark.parametrize('path', sorted(option_folder().rglob('*.yml')), ids=lambda path: path.stem)
def test_no_line_says_what_is_so_anyway(path):
    text = path.read_text(encoding='utf-8')
    for line in ('wandb:', 'test_y_channel: false'):
        assert line not in text

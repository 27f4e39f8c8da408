"""The JSON Schema of the option files: that of the models, and what it takes and refuses."""

import copy
import json
import re

import jsonschema
import pytest
import torch
import yaml
from basicsr.utils.registry import LOSS_REGISTRY

from maxl_sr.schema import generate, schema_file
from maxl_sr.utils.packaged import option_folder
from tests.helpers import meta_test_options, python, train_options

FILES = sorted(option_folder().rglob('*.yml'))
SCHEMA = json.loads(schema_file().read_text(encoding='utf-8'))
CHECK = jsonschema.Draft7Validator(SCHEMA)


def load(name):
    return yaml.safe_load((option_folder() / f'{name}.yml').read_text(encoding='utf-8'))


def changed(opt, place, value):
    """The options with another value in a place, keys with two underscores between."""
    opt = copy.deepcopy(opt)
    section = opt
    *above, last = (int(key) if key.isdigit() else key for key in place.split('__'))
    for key in above:
        section = section[key]
    section[last] = value
    return opt


def test_the_shipped_file_is_what_the_models_make():
    assert schema_file().read_text(encoding='utf-8') == generate.text(), 'python scripts/options_reference.py'
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_it_does_not_depend_on_what_a_program_registers():
    class Passing(torch.nn.Module):
        pass

    LOSS_REGISTRY.register(Passing)
    try:
        assert 'Passing' not in generate.text()
    finally:
        del LOSS_REGISTRY._obj_map['Passing']


def test_every_reference_leads_somewhere():
    named = set(re.findall(r'"\$ref": "#/definitions/(\w+)"', json.dumps(SCHEMA)))
    assert named | {'MixedSets'} == set(SCHEMA['definitions']) and generate.KIND not in json.dumps(SCHEMA)


@pytest.mark.parametrize('path', FILES, ids=lambda path: f'{path.parent.name}-{path.stem}')
def test_an_option_file_names_its_schema_and_fits(path):
    text = path.read_text(encoding='utf-8')
    named = re.match(r'# yaml-language-server: \$schema=(\S+)\n', text)
    assert named is not None and (path.parent / named[1]).resolve() == schema_file().resolve()
    error = jsonschema.exceptions.best_match(CHECK.iter_errors(yaml.safe_load(text)))
    assert error is None, f'{list(error.absolute_path)}: {error.message}'


@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
def test_options_of_the_tests_fit(model, make_pairs, tmp_path):
    pairs = make_pairs()
    assert not list(CHECK.iter_errors(train_options(model, pairs)))
    assert not list(CHECK.iter_errors(meta_test_options(pairs, tmp_path)))


FAST = load('denoise/fast')
MAXL = load('cpu/stage1_maxl')
TEST = load('denoise/test_foreign')
GAN = load('sr/edges_esrgan_x4')
WRONG = [
    (FAST, 'train__inner__stepps', 5), (FAST, 'train__inner__steps', 0), (FAST, 'train__inner__steps', 2.5),
    (FAST, 'train__inner__lr', 0), (FAST, 'train__inner__params', 'head'), (FAST, 'train__inner__learn_lr', 0),
    (FAST, 'train__inner__learn_lr', True), (FAST, 'train__autocast', 'fp16'), (FAST, 'train__alternate_every', 1),
    (FAST, 'train__aux_opt__flatness', 0), (FAST, 'train__aux_opt__flatnes', 0.1), (FAST, 'train__aux_opt', {}),
    (FAST, 'train__total_iter', 0.5), (FAST, 'train__optim_g__lr', -1), (FAST, 'train__scheduler__type', 'Step'),
    (FAST, 'train__new_key', 1), (FAST, 'val__adapt__stepps', 5), (FAST, 'val__adapt__lr', '1e-3'),
    (FAST, 'val__new_key', 1), (FAST, 'path__pretrain_netwrok_g', 'x'), (FAST, 'path__strict_load_g', 'yes'),
    (FAST, 'logger__print_freq', 0), (FAST, 'logger__use_tb_loger', True), (FAST, 'scale', 0), (FAST, 'num_gpu', -1),
    (FAST, 'manual_seed', 2**31), (FAST, 'mnaual_seed', 0), (FAST, 'network_g__num_feats', 8), (FAST, 'network_g', {}),
    (FAST, 'network_g__num_feat', '8'), (FAST, 'datasets__train__gt_size', 0), (FAST, 'datasets__train__gt_sice', 8),
    (FAST, 'datasets__train__sets__0__augment__nois_scale', [1, 2]), (FAST, 'datasets__train__sets__0__dataroot', 'x'),
    (FAST, 'datasets__train__sets__0__augment__noise_scale', [1, 2, 3]), (FAST, 'datasets__train__sets', {}),
    (FAST, 'datasets__train__sets__0__augment__noise_scale', [-1, 2]), (FAST, 'datasets__val_1__centre_crop', 8),
    (FAST, 'datasets__train__sets__7__gausian', [1, 2]), (FAST, 'datasets__train__sets__5__degradation__x', 1),
    (FAST, 'datasets__train__sets__9__noise__line', [0, 2]), (FAST, 'datasets__train__num_worker_per_gpu', None),
    (FAST, 'datasets__val_1__io_backend', {'type': 'lmbd'}), (FAST, 'datasets__train__io_backend', {'type': 'disk'}),
    (FAST, 'model_type', None),
    (MAXL, 'train__alternate_every', 0), (MAXL, 'train__mask_opt__loss_wieght', 1.0), (MAXL, 'train__inner__steps', 5),
    (TEST, 'val__adapt__guard__margins', 0.1), (TEST, 'val__adapt__guard__margin', 1),
    (TEST, 'val__adapt__guard__aux_opt__windo', 8), (TEST, 'val__adapt__guard__aux_opt__window', -1),
    (TEST, 'datasets__test_1__grey', 2), (TEST, 'datasets__test_1__degradation__noise__gausian', [1, 2]),
    (TEST, 'val__metrics__psnr', {}), (TEST, 'val__metrics__psnr__better', 'most'),
    (TEST, 'val__adapt__aux_opt', {'type': 'SumObjective', 'objectives': [{'type': 'SURELoss', 'windo': 1}]}),
    (GAN, 'train__pixel_opt__fixed_masks', 'edges'), (GAN, 'train__total_iter', 'x'),
    (GAN, 'datasets__train__degradation__sigmas', [1, 2]),
]


@pytest.mark.parametrize('opt, place, value', WRONG, ids=[f'{place}={value}' for _, place, value in WRONG])
def test_a_mistake_is_refused(opt, place, value):
    assert not list(CHECK.iter_errors(opt))
    assert list(CHECK.iter_errors(changed(opt, place, value)))


@pytest.mark.parametrize('opt, place, value', [
    (GAN, 'train__new_key', 1), (GAN, 'val', {'save_img': False, 'new_key': 1}), (GAN, 'queue_size', 180),
    (GAN, 'network_d__new_key', 1), (GAN, 'path__pretrain_network_d_init', 'x'), (GAN, 'model_type', 'MyModel'),
    (GAN, 'train__pixel_opt', {'type': 'MyLoss', 'x': 1}), (FAST, 'network_g', {'type': 'MyNet', 'x': 1}),
    (FAST, 'train__aux_opt', {'type': 'MyObjective', 'x': 1}), (FAST, 'val__metrics__m', {'type': 'my', 'x': 1}),
    (FAST, 'datasets__val_1', {'type': 'MyDataset', 'name': 'x', 'what': 1}),
    (FAST, 'datasets__train__sets__9__noise__line', None), (FAST, 'train__inner__learn_lr', False),  # no, in YAML 1.1
    (FAST, 'train__total_iter', 4e5),
], ids=str)
def test_what_plug_ins_may_add_is_taken(opt, place, value):
    assert not list(CHECK.iter_errors(changed(opt, place, value)))


def test_editors_find_names_texts_and_defaults():
    definitions = SCHEMA['definitions']
    objective = definitions['objective']['properties']['type']['anyOf'][0]['enum']
    assert {'SURELoss', 'SumObjective', 'NoiseTransplantLoss'} <= set(objective) and 'L1Loss' not in objective
    assert 'RIDNet' in definitions['network']['properties']['type']['anyOf'][0]['enum']
    assert 'PairedImageDataset' in definitions['dataset']['properties']['type']['anyOf'][0]['enum']
    assert 'psnr_matched' in str(definitions['metric_name']) and 'ESRGANModel' in str(definitions['model_name'])
    margin = definitions['GuardOptions']['properties']['margin']
    assert margin['default'] == 0.05 and margin['description'].startswith('Adapted weights are kept if')
    assert definitions['BlindSpotLoss']['properties']['ratio']['description'].startswith('Share of the pixels')
    assert '`' not in json.dumps(SCHEMA)


def test_every_key_of_ours_has_a_text():
    for name, definition in SCHEMA['definitions'].items():
        for key, value in definition.get('properties', {}).items():
            assert key == 'type' or name == 'Training' or value.get('description'), f'{name}: {key}'


def test_the_command_prints_it_without_torch():
    code = ('import sys, maxl_sr.__main__ as main; sys.argv = ["maxl-sr", "schema"]; code = main.main(); '
            'assert "torch" not in sys.modules and "pydantic" not in sys.modules; sys.exit(code)')
    program = f'import sys; sys.orig_argv = ["python", "-m", "maxl_sr"]; {code}'
    done = python('-c', program)
    assert done.returncode == 0, done.stderr
    assert done.stdout == schema_file().read_text(encoding='utf-8')

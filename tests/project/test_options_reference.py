"""The reference of the option files is that of the code, and complete."""

import inspect
import re
import runpy
import shutil

import pytest

from maxl_sr.data import camera_noise, data_util, degradation, noise, pair_augmentation, sections
from maxl_sr.data.mixed_paired_dataset import MixedPairedDataset
from maxl_sr.data.synthetic_degradation_dataset import SyntheticDegradationDataset
from maxl_sr.data.synthetic_noise_dataset import SyntheticNoiseDataset
from maxl_sr.models.maxl_model import MAXLModel
from maxl_sr.models.meta_transfer_model import MetaTransferModel
from maxl_sr.settings import adaptation as options
from maxl_sr.settings.section import Section
from maxl_sr.settings.training import AdaptiveOwn, Losses, MaskPath, MAXLOwn, MetaTransferOwn

import basicsr.utils.registry as registries  # isort: skip
from tests.helpers import ROOT, python

SCRIPT = ROOT / 'scripts/options_reference.py'
TEXT = (ROOT / 'docs/options.md').read_text(encoding='utf-8')
REGISTERED = [cls for registry in (registries.ARCH_REGISTRY, registries.LOSS_REGISTRY, registries.DATASET_REGISTRY,
                                   registries.MODEL_REGISTRY)
              for _, cls in registry if cls.__module__.startswith('maxl_sr')]
SECTIONS = {'augment of MixedPairedDataset': pair_augmentation.PairAugmentation,
            'degradation: camera': camera_noise.CameraNoise,
            'degradation of SyntheticDegradationDataset': degradation.Degradation,
            'noise of SyntheticNoiseDataset': noise.Noise, 'train itself': options.Compute,
            'train: inner of MAXLModel': options.VirtualStep, 'train: inner of MetaTransferModel': options.InnerLoop,
            'val: adapt': options.Adapt, 'val: adapt: guard': options.GuardOptions}
SHARED = {'network_m', *(f'path: {key}' for key in MaskPath.model_fields),
          *(f'train: {key}' for key in Losses.model_fields), *(f'val: {key}' for key in AdaptiveOwn.model_fields)}
CROP = {'center_crop', *data_util.AUGMENT_KEYS}
KEYS = {MAXLModel: {*SHARED, *(f'train: {key}' for key in MAXLOwn.model_fields)},
        MetaTransferModel: {*SHARED, *(f'train: {key}' for key in MetaTransferOwn.model_fields)},
        SyntheticNoiseDataset: {*CROP, *sections.CleanImages.model_fields, 'noise'},
        SyntheticDegradationDataset: {*CROP, *sections.CleanImages.model_fields, 'degradation'},
        MixedPairedDataset: {*CROP, 'sets', *sections.Pairs.model_fields}}


def table(heading):
    """The rows below a heading, by key; each has four cells with something in them."""
    _, found, text = TEXT.partition(f'\n### {heading}\n')
    assert found, f'{heading} is missing'
    rows = [re.split(r'(?<!\\)\|', line)[1:-1] for line in text.split('\n## ')[0].split('\n### ')[0].splitlines()
            if line.startswith('| `')]
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in rows)
    return {row[0].strip(' `'): [cell.strip() for cell in row[1:]] for row in rows}


def test_the_page_is_up_to_date():
    assert runpy.run_path(str(SCRIPT))['page']() == TEXT, 'python scripts/options_reference.py'


@pytest.mark.slow
def test_an_old_page_is_told(tmp_path):
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'options').mkdir()
    (tmp_path / 'scripts').mkdir()
    page, script = tmp_path / 'docs/options.md', tmp_path / 'scripts/reference.py'
    page.write_text('old', encoding='utf-8')
    shutil.copy(SCRIPT, script)
    done = python(script, '--check')
    assert done.returncode == 1 and 'out of date' in done.stderr
    assert page.read_text(encoding='utf-8') == 'old'


@pytest.mark.parametrize('cls', REGISTERED)
def test_every_parameter_of_every_registered_class_is_described(cls):
    wanted = KEYS.get(cls) or set(inspect.signature(cls).parameters)
    assert wanted - table(f'`{cls.__name__}`').keys() == set()


@pytest.mark.parametrize('place', SECTIONS)
def test_every_field_of_every_section_is_described(place):
    name, of, owner = place.partition(' of ')
    heading = f'`{name}` of `{owner}`' if of else '`train` itself' if place == 'train itself' else f'`{name}`'
    assert table(heading).keys() == SECTIONS[place].model_fields.keys()


def test_no_section_is_forgotten():
    modules = (options, camera_noise, degradation, noise, pair_augmentation)
    known = {cls for module in modules for cls in vars(module).values()
             if isinstance(cls, type) and issubclass(cls, Section) and cls is not Section}
    assert known == set(SECTIONS.values())


def test_types_ranges_and_defaults_are_those_of_the_code():
    guard = table('`val: adapt: guard`')
    assert guard['margin'][:2] == ['number, ≥ 0, < 1', '`0.05`']
    assert guard['patience'][:2] == ['integer or null, ≥ 1', '`null`']
    assert guard['aux_opt'][1] == '`{type: SURELoss, window: 64}`'
    assert table('`noise` of `SyntheticNoiseDataset`')['smooth'][:2] == ['[low, high] or null, ≥ 0', '`null`']
    assert table('`SURELoss`')['seed'][:2] == ['integer', '`1`']
    assert table('`BlindSpotLoss`')['ratio'][:2] == ['number, > 0, ≤ 1', '`0.05`']
    assert table('`SyntheticNoiseDataset`')['gt_size'][:2] == ['integer, ≥ 1', 'required in training']
    assert table('`MAXLModel`')['train: optim_m'][1] == 'required with `network_m`'
    assert table('`RedegradationLoss`')['estimate'][:2] == ['`copy`, `image`', '`copy`']
    assert table('`WithAuxiliaryHead`')['head'][:2] == ['list of names', 'required']


def test_the_links_lead_to_headings():
    headings = {re.sub(r'[^\w\- ]', '', line.lstrip('# ').lower()).replace(' ', '-')
                for line in TEXT.splitlines() if line.startswith('##')}
    links = re.findall(r'\]\(#(.*?)\)', TEXT)
    assert len(links) > len(headings) and set(links) == headings

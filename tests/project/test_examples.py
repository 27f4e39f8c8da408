"""The examples of the API reference are run, and every public name has one."""

import doctest
import importlib
import re

import pytest
import torch

import maxl_sr  # noqa: F401
from tests.helpers import ROOT

API = ROOT / 'docs/api'
NAMES = [name for page in sorted(API.glob('*.md'))
         for name in re.findall(r'^::: ([\w.]+)$', page.read_text(), re.MULTILINE)]
# What is shown by the examples of what they belong to: sections of option files, and what functions return
PARTS = {'Restoration', 'Adapt', 'GuardOptions', 'Noise', 'MixedPairedDataset', 'SyntheticNoiseDataset',
         'SyntheticDegradationDataset', 'MAXLModel', 'MetaTransferModel', 'calculate_ssim_matched', 'WithAuxiliaryHead',
         'Restorer', 'install', 'hyper_parameters'}


def found(name):
    module, _, attribute = name.rpartition('.')
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize('name', NAMES)
def test_the_example_of_every_public_name(name):
    item = found(name)
    tests = doctest.DocTestFinder(recurse=False).find(
        item, name, globs=dict(vars(importlib.import_module(item.__module__))))
    examples = [test for test in tests if test.examples]
    if name.rpartition('.')[2] not in PARTS:
        assert examples, f'{name} has no example'
    torch.manual_seed(0)
    for test in examples:
        result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test)
        assert not result.failed, f'{name}: see the output'

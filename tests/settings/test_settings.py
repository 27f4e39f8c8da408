"""The sections of an option file as models: what they take, and what they say to the rest."""

import re
from pathlib import Path
from typing import Literal

import pytest
import yaml
from basicsr.utils.registry import LOSS_REGISTRY
from pydantic import ValidationError
from torch import Tensor, nn

from maxl_sr.data.degradation import Degradation
from maxl_sr.data.noise import Noise
from maxl_sr.data.pair_augmentation import PairAugmentation
from maxl_sr.data.sections import MixedPairs
from maxl_sr.errors import UserError
from maxl_sr.settings import components, option_file
from maxl_sr.settings.adaptation import Adapt, Compute, GuardOptions, InnerLoop
from maxl_sr.settings.losses import check_loss, check_objective
from maxl_sr.settings.section import Section, parse
from maxl_sr.settings.training import AdaptivePath, AdaptiveValidation, MAXLTrain, MetaTransferTrain
from maxl_sr.settings.types import Flag
from maxl_sr.settings.values import check_no_text_numbers
from tests.helpers import train_options

RESTORE = {'objectives': [{'type': 'BlindSpotLoss'}, {'type': 'RecorruptionLoss', 'seed': 'one'}]}


class OwnObjective(nn.Module):
    """An objective of a user's own, as those of CONTRIBUTING.md."""

    def __init__(self, strength: float, kind: Literal['a', 'b'] = 'a', model_copy: bool = False, other=None) -> None:
        super().__init__()
        if strength > 9:
            raise ValueError(f'strength must be at most 9, not {strength}')
        self.strength, self.kind, self.model_copy, self.other = strength, kind, model_copy, other

    def prepare(self, net, y: Tensor) -> tuple[Tensor, ...]:
        return (y, )

    def loss(self, heads, prepared, mask) -> Tensor:
        return prepared[0].mean()


@pytest.fixture
def own():
    """An objective that is registered while the test runs, after the union of the others was made."""
    check_objective('before', {'type': 'BlindSpotLoss'})
    LOSS_REGISTRY.register(OwnObjective)
    yield OwnObjective
    del LOSS_REGISTRY._obj_map['OwnObjective']


# --- one sentence ---

@pytest.mark.parametrize('section, message', [
    ({'steps': 0, 'stepps': 5}, "x: unknown key 'stepps'; did you mean 'steps'?"),
    ({'guard': {'margins': 1}}, "x: guard: unknown key 'margins'; did you mean 'margin'?"),
    ({'guard': {'aux_opt': {'type': 'SURELoss', 'windo': 8}}},
     "x: guard: aux_opt: unknown key 'windo'; did you mean 'window'?"),
    ({'guard': {'aux_opt': {'type': 'SURELoss', 'window': -1}}},
     'x: guard: aux_opt: window must be at least 0, not -1'),
    ({'guard': {'aux_opt': {}}}, "x: guard: aux_opt must be a section with the key 'type', not {}"),
    ({'guard': []}, 'x: guard must be a section, not []'),
    ({'aux_opt': {'type': 'SURELos'}}, "x: aux_opt: type: unknown name 'SURELos'; did you mean 'SURELoss'?"),
    ({'aux_opt': {'type': ['SURELoss']}}, "x: aux_opt: type: unknown name ['SURELoss']; did you mean 'SURELoss'?"),
    ({'aux_opt': {'type': 'L1Loss'}}, 'x: aux_opt: L1Loss is no inner objective: it lacks prepare and loss'),
    ({'aux_opt': {'type': 'SumObjective'}}, "x: aux_opt: key 'objectives' is missing"),
    ({'aux_opt': {'type': 'SumObjective', **RESTORE}}, "x: aux_opt: objectives[1]: seed must be an integer, not 'one'"),
    ({'aux_opt': {'type': 'BlindSpotLoss', 'ratio': 1.5}}, 'x: aux_opt: ratio must be at most 1, not 1.5'),
    ({'aux_opt': {'type': 'BlindSpotLoss', 'loss_weight': float('inf')}},
     'x: aux_opt: loss_weight must be a number, not inf'),
    ({'params': 'head'}, "x: params must be one of heads, all, gains, input, not 'head'; did you mean 'heads'?"),
    ({'params': 7}, 'x: params must be one of heads, all, gains, input, not 7'),
    ({'steps': 10_001}, 'x: steps must be at most 10000, not 10001'),
    ({'steps': True}, 'x: steps must be an integer, not True'),
    ({'lr': True}, 'x: lr must be a number, not True'),
])
def test_a_mistake_is_one_sentence_with_place_key_and_value(section, message):
    with pytest.raises(UserError) as told:
        parse(Adapt, section, 'x')
    assert str(told.value) == message


@pytest.mark.parametrize('cls, section, message', [
    (Noise, {'gaussian': [-1, 5]}, 'x: gaussian must be at least 0, not [-1, 5]'),
    (Noise, {'gaussian': [9, 5]}, 'x: gaussian must go from low to high, not [9.0, 5.0]'),
    (Noise, {'gaussian': [5]}, 'x: gaussian must be a pair of numbers, not [5]'),
    (Noise, {'gaussian': {5, 6}}, 'x: gaussian must be a pair of numbers, not {5, 6}'),
    (Noise, {'gaussian': [5, 'many']}, "x: gaussian must be a number, not 'many'"),
    (Noise, {'salt_share': None}, 'x: salt_share must be a pair of numbers, not None'),
    (Degradation, {'noise': {'gausian': [1, 2]}}, "x: noise: unknown key 'gausian'; did you mean 'gaussian'?"),
    (Degradation, {'camera': {'shot': [0, 1]}}, 'x: camera: shot must be greater than 0, not [0, 1]'),
    (MixedPairs, {}, "x: key 'dataroot_gt' is missing"),
    (MixedPairs, {'dataroot_gt': 'a', 'dataroot_lq': 'b', 'io_backend': {'type': 'lmbd'}},
     "x: io_backend: type must be one of disk, lmdb, memcached, petrel, not 'lmbd'; did you mean 'lmdb'?"),
    (Compute, [], 'x must be a section, not []'),
])
def test_sections_of_data_sets_too(cls, section, message):
    with pytest.raises(UserError) as told:
        parse(cls, section, 'x')
    assert str(told.value) == message


def test_a_section_that_a_program_makes_is_checked_the_same_way():
    with pytest.raises(UserError, match=r"^Adapt: unknown key 'stepps'; did you mean 'steps'\?$"):
        Adapt(stepps=3)
    with pytest.raises(UserError, match=r'^Adapt: guard: margin must be less than 1, not 1$'):
        Adapt(guard={'margin': 1})
    guard = GuardOptions(margin=0.2)
    assert Adapt(guard=guard).guard is guard and Adapt(guard={'margin': 0.2}).guard == guard


def test_a_section_does_not_change():
    with pytest.raises(ValidationError, match='frozen'):
        Adapt().steps = 3


def test_the_objective_of_the_training_is_that_of_the_test_where_it_gives_none():
    objective = components.check_objective_section('x', {'type': 'BlindSpotLoss', 'ratio': '1e-1'})
    assert Adapt().with_objective(objective).aux_opt == {'type': 'BlindSpotLoss', 'ratio': 0.1}
    assert Adapt(aux_opt={'type': 'SURELoss'}).with_objective(objective).aux_opt == {'type': 'SURELoss'}
    assert Adapt().with_objective(None).aux_opt is None


# --- as YAML 1.1 reads values ---

def test_numbers_and_booleans_as_text():
    read = parse(InnerLoop, yaml.safe_load('{steps: 1e1, lr: 1e-4, learn_lr: no, per_step: "false"}'), 'x')
    assert (read.steps, read.lr, read.learn_lr, read.per_step) == (10, 1e-4, 'no', False)
    assert parse(InnerLoop, {'per_step': 'TRUE'}, 'x').per_step is True
    camera = parse(Degradation, yaml.safe_load('{camera: {shot: [1e-4, 1e-2]}, jpeg: ["5e1", 60]}'), 'x')
    assert camera.camera.shot == (1e-4, 1e-2) and camera.jpeg == (50.0, 60.0)
    several = {'type': 'SumObjective', 'objectives': [{'type': 'BlindSpotLoss', 'ratio': '1e-1', 'radius': '3'}]}
    assert parse(Adapt, {'aux_opt': several}, 'x').aux_opt['objectives'][0]['ratio'] == 0.1
    made = check_objective('x', several).objectives[0]
    assert (made.ratio, made.radius) == (0.1, 3)


@pytest.mark.parametrize('cls, section', [
    (InnerLoop, {'per_step': 'yes'}), (InnerLoop, {'per_step': 0}), (InnerLoop, {'steps': '1.5'}),
    (InnerLoop, {'steps': '1e400'}), (InnerLoop, {'lr': 'nan'}), (InnerLoop, {'lr': ''}),
    (InnerLoop, {'params': False}), (Noise, {'gaussian': ['nan', 5]}), (Noise, {'gaussian': '55'}),
])
def test_other_text_is_refused(cls, section):
    with pytest.raises(UserError, match=f'^x: {next(iter(section))} must be '):
        parse(cls, section, 'x')


def test_text_in_lists_and_sections_within_a_section_of_basicsr_is_refused():
    with pytest.raises(UserError, match=r"^x: base: mid_channels must be a number, not the text '64'; write 64"):
        check_no_text_numbers('x', {'base': {'mid_channels': '64'}})
    with pytest.raises(UserError, match=r"^x: losses: loss_weight must be a number, not the text '1e-2'"):
        check_no_text_numbers('x', {'losses': [{'type': 'L1Loss', 'loss_weight': '1e-2'}]})
    with pytest.raises(UserError, match=r"^x: rgb_mean must be numbers, not the text '1e-1'; write !!float 1e-1"):
        check_no_text_numbers('x', {'rgb_mean': [[0.4, '1e-1']]})
    check_no_text_numbers('x', {'a': 'text', 'b': [None, 'l1'], 'c': {'d': True}})


def test_text_for_a_boolean_of_ours_reaches_its_section(make_pairs, tmp_path):
    opt = train_options('MetaTransferModel', make_pairs())
    opt['train']['cuda_graph'] = 'false'
    path = tmp_path / 'x.yml'
    path.write_text(yaml.safe_dump(opt))
    assert Compute.of(option_file.read_option_file(str(path))['train']).cuda_graph is False
    opt['datasets']['train']['use_hflip'] = 'false'  # BasicSR would take it for true
    path.write_text(yaml.safe_dump(opt))
    with pytest.raises(UserError, match="use_hflip is the text 'false'"):
        option_file.read_option_file(str(path))


def test_no_boolean_of_ours_is_forgotten():
    flags = {name for cls in (Adapt, GuardOptions, InnerLoop, Compute, Noise, Degradation, PairAugmentation)
             for name, field in cls.model_fields.items() if field.annotation is bool}
    assert flags == set(option_file.OWN_FLAGS)
    assert Flag.__metadata__[-1] in InnerLoop.model_fields['per_step'].metadata


# --- what is registered decides ---

def test_an_objective_of_ones_own(own):
    section = {'type': 'OwnObjective', 'strength': '1e-1', 'kind': 'b', 'model_copy': True, 'other': {'any': ['thing']}}
    made = check_objective('x', section)
    assert (made.strength, made.kind, made.model_copy, made.other) == (0.1, 'b', True, {'any': ['thing']})
    assert parse(Adapt, {'aux_opt': section}, 'x').aux_opt == {**section, 'strength': 0.1}
    for wrong, message in (({}, "x: aux_opt: key 'strength' is missing"),
                           ({'strenght': 1}, "x: aux_opt: unknown key 'strenght'; did you mean 'strength'?"),
                           ({'strength': 1, 'kind': 'c'}, "x: aux_opt: kind must be one of a, b, not 'c'")):
        with pytest.raises(UserError) as told:
            parse(Adapt, {'aux_opt': {'type': 'OwnObjective', **wrong}}, 'x')
        assert str(told.value) == message
    with pytest.raises(UserError, match='^x: strength must be at most 9, not 10'):
        check_objective('x', {'type': 'OwnObjective', 'strength': 10})


def test_it_is_unknown_again_when_it_is_no_longer_registered():
    with pytest.raises(UserError, match="unknown name 'OwnObjective'"):
        check_objective('x', {'type': 'OwnObjective', 'strength': 1})


def test_models_are_made_once():
    check_objective('x', {'type': 'BlindSpotLoss'})
    made = components.component_model.cache_info().misses, components._union.cache_info().misses
    check_objective('x', {'type': 'SURELoss', 'window': 16})
    check_objective('x', {'type': 'SumObjective', 'objectives': [{'type': 'BlindSpotLoss'}]})
    assert (components.component_model.cache_info().misses, components._union.cache_info().misses) == made


def test_a_name_with_the_suffix_of_basicsr_left_out():
    LOSS_REGISTRY.register(OwnObjective, suffix='basicsr')
    try:
        for name in ('OwnObjective', 'OwnObjective_basicsr'):
            assert check_objective('x', {'type': name, 'strength': 2}).strength == 2
    finally:
        del LOSS_REGISTRY._obj_map['OwnObjective_basicsr']


def test_a_loss_of_any_arguments():
    class Loose(nn.Module):
        def __init__(self, **kwargs) -> None:
            super().__init__()
            self.kwargs = kwargs

        def forward(self, pred, target):
            return (pred - target).mean()

    LOSS_REGISTRY.register(Loose)
    try:
        assert check_loss('x', {'type': 'Loose', 'whatever': [1]}).kwargs == {'whatever': [1]}
    finally:
        del LOSS_REGISTRY._obj_map['Loose']


def test_an_objective_whose_annotations_are_nothing_to_us():
    class Odd(OwnObjective):
        def __init__(self, a: 'Nowhere', b: nn.Module = None, *, c: list = ()) -> None:  # noqa: F821
            super().__init__(1.0)
            self.given = a, b, c

    LOSS_REGISTRY.register(Odd)
    try:
        assert check_objective('x', {'type': 'Odd', 'a': '1e-1', 'b': {}, 'c': [1]}).given == ('1e-1', {}, [1])
        with pytest.raises(UserError, match="^x: key 'a' is missing"):
            check_objective('x', {'type': 'Odd'})
    finally:
        del LOSS_REGISTRY._obj_map['Odd']


@pytest.mark.parametrize('package, above', [
    ('settings', 'models|preflight|data|losses|archs|restorer|cli|schema|adaptation|utils'),
    ('utils', 'models|preflight|data|losses|archs|restorer|cli|schema|adaptation'), ('data', 'models|preflight|schema'),
    ('losses', 'models|preflight|schema|data'),
])
def test_imports_point_downwards(package, above):
    for path in (Path(components.__file__).parents[1] / package).glob('*.py'):
        text = path.read_text(encoding='utf-8')
        found = re.findall(rf'^ *(?:from|import) maxl_sr\.(?:{above})\b.*', text, re.MULTILINE)
        assert not found, f'{path.name}: {found}'


@pytest.mark.parametrize('cls', [MAXLTrain, MetaTransferTrain, AdaptivePath, AdaptiveValidation])
def test_every_section_refuses_other_keys(cls):
    assert issubclass(cls, Section) and cls.model_config['extra'] == 'forbid' and cls.model_config['frozen']

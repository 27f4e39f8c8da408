"""Random wrong input: a sentence or a result, never another error. Seeded and short; what was found stays below."""

import copy
import os
import pickle
import resource
import shutil

import psutil
import pytest
import torch
import yaml
from basicsr.models.sr_model import SRModel
from basicsr.utils.lmdb_util import LmdbMaker

from maxl_sr.adaptation.checkpoint import read_weights, saved_rates
from maxl_sr.errors import UserError
from maxl_sr.models.maxl_model import MAXLModel
from maxl_sr.models.meta_transfer_model import MetaTransferModel
from maxl_sr.preflight.lmdb_images import lmdb_sizes
from maxl_sr.settings.option_file import read_option_file
from maxl_sr.settings.yaml_file import read_yaml
from tests.helpers import meta_test_options, photograph, train_options

hypothesis = pytest.importorskip('hypothesis')
from hypothesis import HealthCheck, example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

EXAMPLES = int(os.environ.get('MAXL_SR_FUZZ', '1'))  # times as many


def seeded(count):
    return settings(max_examples=count * EXAMPLES, derandomize=EXAMPLES == 1, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck))


def one_line(error):
    return len(str(error).splitlines()) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.integers() | st.floats() | st.text(max_size=8) |
    st.sampled_from(
        ['true', '3e0', '', '~', '/', '..', '1e-3', 'disk', 'lmdb', 'cpu', 'heads', 'L1Loss', 'MultiTaskNet', '.inf']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=5)


# --- YAML and the option file ---


@seeded(60)
@given(st.text(alphabet='ab:-[]{}&*!?|>%@"\'#,\n 0~<=.\t', max_size=40))
@example('%')
@example('&a [*a]')
@example('? - :')
@example('&\u2028')
@example('*\u202e\x85')
def test_yaml_of_any_text(text):
    try:
        read_yaml(text, 'x.yml')
    except UserError as error:
        assert one_line(error)


@pytest.fixture(scope='module')
def option_text(tmp_path_factory):
    return yaml.safe_dump(train_options('MAXLModel', tmp_path_factory.mktemp('pairs'))).encode()


@seeded(40)
@given(st.lists(st.tuples(st.floats(0, 0.999), st.binary(max_size=3)), min_size=1, max_size=4))
def test_option_file_with_random_bytes(option_text, tmp_path_factory, changes):
    content = bytearray(option_text)
    for place, new in changes:
        start = int(place * len(content))
        content[start:start + len(new)] = new
    path = tmp_path_factory.getbasetemp() / 'x.yml'
    path.write_bytes(content)
    try:
        assert isinstance(read_option_file(str(path)), dict)
    except UserError as error:
        assert one_line(error)


@seeded(60)
@given(st.text(alphabet='train:vl=optim_g"\'[](){}!&*,~ .0eE-', max_size=25) | st.builds(
    lambda keys, value: f'{":".join(keys)}={value}', st.lists(st.sampled_from(
        ['train', 'val', 'name', 'path', 'datasets', 'optim_g', 'lr', '', '0', 'x']), max_size=4),
    st.text(max_size=12)))
@example('name=\udce9')
@example('=\n')
@example('train:train:train=\n')
def test_force_yml_of_any_text(option_text, tmp_path_factory, entry):
    path = tmp_path_factory.getbasetemp() / 'y.yml'
    path.write_bytes(option_text)
    try:
        assert isinstance(read_option_file(str(path), [entry]), dict)
    except UserError as error:
        assert one_line(error)


def places(section, path=()):
    yield path
    items = section.items() if isinstance(section, dict) else enumerate(section) if isinstance(section, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


class Stop(BaseException):
    """The training has begun."""


def try_run(run, command, opt, capfd):
    try:
        assert run(command, opt) == 2
        err = capfd.readouterr().err
        assert 'Traceback' not in err and err.splitlines()[-1].startswith('error: ')
    except Stop:
        pass
    finally:
        shutil.rmtree('experiments', ignore_errors=True)
        shutil.rmtree('results', ignore_errors=True)


@pytest.fixture
def stopped(monkeypatch):
    def stop(self, *args):
        raise Stop

    limits = resource.getrlimit(resource.RLIMIT_AS)  # numbers of any size: no room for what they ask for
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 2**32, limits[1]))
    for model in (MAXLModel, MetaTransferModel, SRModel):
        monkeypatch.setattr(model, 'optimize_parameters', stop)
        monkeypatch.setattr(model, 'test', stop)
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def base_options(kind, pairs):
    if kind in ('MAXLModel', 'MetaTransferModel'):
        return train_options(kind, pairs)
    if kind == 'test':
        opt = meta_test_options(pairs, pairs)
        opt['path'].update(pretrain_network_g=None, pretrain_network_m=None)
        return opt
    opt = train_options('MetaTransferModel', pairs)
    opt.update(model_type='SRModel')
    opt['train']['scheduler'] = {'type': 'CosineAnnealingRestartLR', 'periods': [6], 'restart_weights': [1]}
    del opt['network_m'], opt['train']['aux_opt'], opt['train']['inner'], opt['val']['adapt']
    train = opt['datasets']['train']
    opt['datasets']['val'].update(type='PairedImageDataset')
    del opt['datasets']['val']['center_crop']
    first = {key: train.pop(key) for key in ('dataroot_gt', 'dataroot_lq', 'io_backend')}
    train['sets'] = [{**first, 'filename_tmpl': '{}', 'augment': {'noise_scale': [0.5, 1.5]}}]
    return opt


def replaced(opt, path, value):
    opt = copy.deepcopy(opt)
    section = opt
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    return opt


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['MAXLModel', 'MetaTransferModel', 'SRModel', 'test'])
@seeded(25)
@given(data=st.data())
def test_options_with_any_value_anywhere(stopped, make_pairs_once, run, capfd, kind, data):
    opt = base_options(kind, make_pairs_once)
    path = data.draw(st.sampled_from([path for path in places(opt) if path and path != ('num_gpu', )]))
    value = data.draw(VALUES)
    hypothesis.note(f'{path}: {value!r}')
    try:
        yaml.safe_load(yaml.safe_dump(value))
    except (yaml.YAMLError, UnicodeError, ValueError):
        return
    try_run(run, 'test' if kind == 'test' else 'train', replaced(opt, path, value), capfd)


@pytest.fixture(scope='module')
def make_pairs_once(tmp_path_factory):
    import cv2
    root = tmp_path_factory.mktemp('once')
    for kind in ('gt', 'lq'):
        (root / kind).mkdir()
        for number in range(2):
            cv2.imwrite(str(root / kind / f'{number:02d}.png'), photograph(number, 32, 40))
    return root


# --- LMDB ---


@pytest.fixture(scope='module')
def lmdb(tmp_path_factory):
    import cv2
    root = tmp_path_factory.mktemp('lmdb') / 'x.lmdb'
    maker = LmdbMaker(str(root), map_size=2**22)
    for number in range(6):
        maker.put(cv2.imencode('.png', photograph(number, 40, 40))[1].tobytes(), f'{number}', (40, 40, 3))
    maker.close()
    return root


@seeded(8)
@given(changes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4095), st.binary(min_size=1, max_size=8)),
                        min_size=1, max_size=6), cut=st.none() | st.integers(0, 12),
       text=st.none() | st.text(max_size=30))
def test_lmdb_with_random_bytes(lmdb, tmp_path_factory, changes, cut, text):
    root = tmp_path_factory.getbasetemp() / 'y.lmdb'
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(lmdb, root)
    content = bytearray((root / 'data.mdb').read_bytes())
    for page, place, new in changes:
        content[4096 * page + place:4096 * page + place + len(new)] = new
    (root / 'data.mdb').write_bytes(content if cut is None else content[:4096 * cut + 100])
    if text is not None:
        (root / 'meta_info.txt').write_text(text, encoding='utf-8', errors='replace')
    try:
        assert len(lmdb_sizes(str(root))) == 6
    except UserError as error:
        assert one_line(error) and 'y.lmdb' in str(error)


# --- checkpoints ---


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('checkpoint') / 'x.pth'
    torch.save({'params': {'a.weight': torch.ones(3, 3), 'a.bias': torch.ones(3)}}, path)
    return path.read_bytes()


def load_any(path):
    for call in (lambda: read_weights('path: pretrain_network_g', str(path), 'params'), lambda: saved_rates(str(path))):
        try:
            call()
        except UserError as error:
            assert one_line(error) and path.name in str(error)


@seeded(60)
@given(st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4),
       st.none() | st.floats(0, 1))
def test_checkpoint_with_random_bytes(checkpoint, tmp_path_factory, changes, cut):
    content = bytearray(checkpoint)
    for place, new in changes:
        start = int(place * len(content))
        content[start:start + len(new)] = new
    path = tmp_path_factory.getbasetemp() / 'y.pth'
    path.write_bytes(content if cut is None else content[:int(cut * len(content))])
    load_any(path)


TENSORS = st.sampled_from([torch.zeros(2), torch.zeros(()), torch.zeros(0), torch.full((2, ), float('nan')),
                           torch.zeros(2, device='meta'), torch.zeros(2).long(), torch.zeros(2).bool()])


@seeded(60)
@given(st.recursive(TENSORS | VALUES, lambda inner: st.dictionaries(st.sampled_from(
    ['params', 'params_ema', 'inner_rates', 'covers_all', 'log_rates.x', 'state_dict', 'module.a', 'b']) |
    st.integers(), inner, max_size=3), max_leaves=8))
def test_checkpoint_of_any_content(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / 'z.pth'
    torch.save(content, path)
    load_any(path)


@seeded(30)
@given(st.binary(max_size=60))
@example(pickle.dumps({'params': 1}))
@example(pickle.dumps({'params': 1}, protocol=5)[:-2])
def test_checkpoint_of_any_bytes(tmp_path_factory, content):
    for name in ('z.pth', 'z.safetensors'):
        path = tmp_path_factory.getbasetemp() / name
        path.write_bytes(content)
        load_any(path)

"""Option files, their names and flags: nothing is evaluated, nothing outside of the experiment is written."""

import os

import cv2
import pytest
import yaml

from maxl_sr.errors import UserError
from maxl_sr.settings.option_file import read_option_file
from maxl_sr.settings.yaml_file import read_yaml
from tests.helpers import GONE, edited, meta_test_options

NO_NAMES = ['/home/me/photos', '../..', '..', '.', 'a/b', 'a\\b', '', ' ', 'x' * 201, 'ü' * 101, 'a\nb', '\x1b[31m', 5,
            True, ['a'], 'trailing/', '~/x/y', '\ud8ff']


@pytest.mark.parametrize('name', NO_NAMES)
def test_name_that_is_no_folder(refused, options, tmp_path, name):
    (tmp_path / 'home/me/photos').mkdir(parents=True)
    (tmp_path / 'home/me/photos/1.jpg').write_text('mine')
    refused('train', edited(options, name=str(tmp_path) + name if name == '/home/me/photos' else name), 'name')
    assert (tmp_path / 'home/me/photos/1.jpg').read_text() == 'mine'


@pytest.mark.parametrize('flags', [['name=../../x'], ['name=/tmp/x'], ['name=5'], ['name='], ['name=[a]'],
                                   ['name={a: b}'], ['name="a/b"'], ['name=~']])
def test_name_set_by_force_yml(refused, options, flags):
    refused('train', options, 'name', flags=['--force_yml', *flags])


def test_names_of_test_sets(refused, pairs, tmp_path):
    opt = meta_test_options(pairs, tmp_path)
    for key in ('pretrain_network_g', 'pretrain_network_m'):
        del opt['path'][key]
    for name in ('../x', 'a/b', '', None, 3):
        refused('test', edited(opt, datasets__test_1__name=name), 'datasets: test_1: name')
    opt['datasets']['test_1']['name'] = 'same'
    opt['datasets']['test_2'] = dict(opt['datasets']['test_1'])
    refused('test', opt, "name 'same'", 'datasets: test_1', 'datasets: test_2', 'written over')
    del opt['datasets']['test_2']
    refused('test', edited(opt, val__suffix='../x'), 'val: suffix')
    refused('test', edited(opt, val__suffix=7), 'val: suffix')


def test_pictures_that_would_be_written_over(refused, pairs, tmp_path):
    opt = meta_test_options(pairs, tmp_path)
    for key in ('pretrain_network_g', 'pretrain_network_m'):
        del opt['path'][key]
    opt['val']['save_img'] = True
    for kind in ('gt', 'lq'):
        image = cv2.imread(str(pairs / kind / '00.png'))
        cv2.imwrite(str(pairs / kind / '00.bmp'), image)
    refused('test', opt, 'val: save_img', '00.png', '00.bmp')


def test_unknown_key_of_path_makes_no_folder(refused, options, tmp_path):
    refused('train', edited(options, model_type='SRModel', val__adapt=GONE, path__somewhere=str(tmp_path / 'made')),
            "path: unknown key 'somewhere'")
    assert not (tmp_path / 'made').exists()


CODE = ["train:total_iter=[__import__('os').system('touch touched')]", "train:total_iter=__import__('os').getcwd()",
        'train"]=open("touched","w") or opt["train:total_iter=3', "train:total_iter=!!python/object/apply:os.getcwd []",
        "train:total_iter=!!python/name:os.system", 'a"];import os;os.system("touch touched")#=1',
        "datasets:train:gt_size=[open('touched', 'w')]", 'train:total_iter=[3, [3', 'train:total_iter={a: &a [*a]}',
        'train:total_iter=@', 'train:total_iter=%x', 'train', '=3', ':=3', 'train:=3', 'train::total_iter=3',
        'trian:total_iter=3', 'name:x=3', 'train:total_iter:x=3', 'train:total_iter=3e0', 'train:total_iter="3"',
        "manual_seed=-1", 'manual_seed=1.5', 'datasets=3', 'train=~', 'path:resume_state=[a]',
        'train:scheduler:milestones=[3e0]', 'train:scheduler:milestones={3: 1}', 'val:adapt:steps=yes']  # yapf: disable


@pytest.mark.parametrize('entry', CODE)
def test_force_yml_is_not_evaluated(refused, options, tmp_path, entry):
    refused('train', options, '', flags=['--force_yml', entry])
    assert not (tmp_path / 'touched').exists()


def test_a_shortened_flag_is_not_evaluated_either(refused, options, tmp_path):
    refused('train', options, '--force_yml', flags=['--force', CODE[0].replace('train:', 'tr:')])
    assert not (tmp_path / 'touched').exists()


@pytest.mark.parametrize('entry, value', [
    ('train:total_iter=7', 7), ('train:total_iter= 7', 7), ('train:x=None', None), ('train:x=~', None),
    ('train:x=', None), ('train:x=TRUE', True), ('train:x=false', False), ('train:x=[1, 2.5, a]', [1, 2.5, 'a']),
    ('train:x=!!float 1e-3', 1e-3), ('train:x=1.0e-3', 1e-3), ('train:x={a: 1}', {'a': 1}), ('train:x=a=b', 'a=b'),
    ('train:x=/data/a #1', '/data/a #1'), ('train:x="a: b"', 'a: b'), ('train:x=weights/fast.pth', 'weights/fast.pth'),
    ('train:x=1e-3', '1e-3'), ('train : x = 5', 5),
])  # yapf: disable
def test_values_of_force_yml(options, tmp_path, entry, value):
    path = tmp_path / 'x.yml'
    path.write_text(yaml.safe_dump(options))
    key = 'total_iter' if 'total_iter' in entry else 'x'
    assert read_option_file(str(path), [entry])['train'][key] == value


def test_force_yml_reaches_the_training_and_its_record(run, options, tmp_path):
    assert run('train', options, '--force_yml', 'train:total_iter=2', 'name=forced') == 0
    folder = tmp_path / 'experiments/forced'
    assert (folder / 'training_states/2.state').is_file() and not (folder / 'training_states/4.state').exists()
    assert '--force_yml train:total_iter=2' in (folder / 'options.yml').read_text()


LAUGHS = 'a: &a [x, x, x, x, x, x, x, x, x, x]\n' + ''.join(
    f'{chr(98 + i)}: &{chr(98 + i)} [{", ".join(["*" + chr(97 + i)] * 10)}]\n' for i in range(9))
MERGES = 'a: &a {k: 1}\n' + ''.join(
    f'{chr(98 + i)}: &{chr(98 + i)}\n  <<: [{", ".join(["*" + chr(97 + i)] * 10)}]\n' for i in range(20))


@pytest.mark.parametrize('text, told', [
    (LAUGHS, 'the aliases stand for more than'), (MERGES, 'the aliases stand for more than'),
    ('a: &a\n  b: *a\n', 'an alias stands for a section that it is in'), ('[' * 5000, 'nested too deeply'),
    ('a: ' + '{a: ' * 3000, 'nested too deeply'), ('a: 1\na: 2\n', "line 2: key 'a' is there twice"),
    ('1: a\n', 'line 1: a key must be text, not 1'), ('~: a\n', 'a key must be text, not ~'),
    ('yes: a\n', "a key must be text, not yes (write 'yes' in quotes"), ('? [a]\n: b\n', 'a key must be text'),
    ('2024-01-01: a\n', 'a key must be text'), ('a: !!python/object/apply:os.getcwd []', 'is not valid YAML'),
    ('a: !!python/name:os.system', 'is not valid YAML'), ('a: !!int x', 'is not valid YAML'),
    ('a: !!timestamp x', 'is not valid YAML'), ('a: 2024-13-45', 'is not valid YAML'), ('a: !!bool perhaps', 'valid'),
    ('a: !!binary "ü"', 'is not valid YAML'), ('a: *b', 'is not valid YAML'), ('a: "\\0"', 'NUL'),
    ('a: 0100', 'line 1: YAML takes 0100 for another number'), ('a: [1, 1:30]', 'YAML takes 1:30 for another number'),
    ('a: -1:30.5', 'YAML takes -1:30.5 for another number'),
    ('--- a\n--- b\n', 'is not valid YAML'), ('a: b: c', 'is not valid YAML'), ('\ta: 1', 'is not valid YAML'),
    ('a: !!omap [x]', 'is not valid YAML'), ('a: !!set [x]', 'is not valid YAML'),
    ('%YAML 9.9\n---\na: 1', 'is not valid YAML'),
    ('a: ' + '9' * 5000, 'is not valid YAML'),
])  # yapf: disable
def test_yaml_without_surprises(text, told):
    with pytest.raises(UserError) as caught:
        read_yaml(text, 'x.yml')
    assert told in str(caught.value) and str(caught.value).startswith('x.yml') and '\n' not in str(caught.value)


def test_an_alias_is_a_copy():
    read = read_yaml('a: &a {lr: 1}\nb: *a\nc:\n  <<: *a\n  d: 2\n', 'x.yml')
    assert read == {'a': {'lr': 1}, 'b': {'lr': 1}, 'c': {'lr': 1, 'd': 2}} and read['a'] is not read['b']


@pytest.mark.parametrize('kind', ['folder', 'large', 'latin', 'pipe', 'unreadable', 'a checkpoint'])
def test_option_file_that_cannot_be_read(refused, options, tmp_path, kind, monkeypatch):
    path = tmp_path / 'own.yml'
    {'folder': path.mkdir, 'large': lambda: path.write_bytes(b'# ' + bytes(2**21)),
     'latin': lambda: path.write_bytes('name: für'.encode('latin-1')), 'pipe': lambda: os.mkfifo(path),
     'unreadable': lambda: path.symlink_to('/proc/self/mem'),
     'a checkpoint': lambda: path.write_bytes(os.urandom(9999)),
     }[kind]()  # yapf: disable
    refused('train', 'own.yml', 'own.yml')


def test_an_option_file_with_a_mark_of_its_encoding(run, options, tmp_path):
    (tmp_path / 'own.yml').write_text('\ufeff' + yaml.safe_dump(options))
    assert run('train', 'own.yml') == 0

"""maxl-sr: photographs and folders from the command line."""

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import maxl_sr.__main__ as command
from maxl_sr import Restorer
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.meta import InnerRates
from maxl_sr.photo import Photo
from maxl_sr.utils.packaged import find_option_file
from tests.helpers import python


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / 'in/sub').mkdir(parents=True)
    for name in ('a.png', 'sub/b.jpg'):
        Image.fromarray(rng.integers(0, 255, (24, 40, 3), np.uint8)).save(tmp_path / 'in' / name)
    return tmp_path


@pytest.fixture
def call(monkeypatch, folder):
    monkeypatch.chdir(folder)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['maxl-sr', *arguments])
        return command.main()

    return run


def test_a_folder_is_restored_once(call, folder, capsys):
    assert call('denoise', 'in', '-o', 'out', '--device', 'cpu') == 0
    expected = Restorer.from_pretrained('fast', 'cpu').restore(folder / 'in/a.png')
    np.testing.assert_array_equal(Photo.read(folder / 'out/a.png').pixels, expected)
    assert sorted(path.name for path in (folder / 'out').rglob('*')) == ['a.png', 'b.jpg', 'sub']
    before = os.stat(folder / 'out/a.png').st_mtime_ns
    assert call('denoise', 'in', '-o', 'out', '--device', 'cpu') == 0
    assert '2 of 2 images are done already' in capsys.readouterr().err
    assert os.stat(folder / 'out/a.png').st_mtime_ns == before
    assert call('denoise', 'in', '-o', 'out', '--device', 'cpu', '--overwrite', '--steps', '0') == 0
    assert os.stat(folder / 'out/a.png').st_mtime_ns > before


def test_photographs_behind_the_options_too(call, folder):
    os.rename(folder / 'in/a.png', folder / '-a.png')
    assert call('denoise', '-o', 'out', '--steps', '0', '--device', 'cpu', '--', '-a.png') == 0
    os.rename(folder / '-a.png', folder / 'a.png')
    assert call('denoise', 'a.png', '-o', 'out', '--steps', '0', 'in/sub/b.jpg', '--device', 'cpu') == 0
    assert sorted(path.name for path in (folder / 'out').iterdir()) == ['-a.png', 'a.png', 'b.jpg']


@pytest.mark.slow
def test_what_is_in_out_is_no_input(call, folder):
    for _ in range(2):
        assert call('denoise', '.', '-o', 'in/out', '--steps', '0', '--device', 'cpu') == 0
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file()) == [
        'in/a.png', 'in/out/in/a.png', 'in/out/in/sub/b.jpg', 'in/sub/b.jpg']


@pytest.mark.slow
@pytest.mark.parametrize('task, scale', [('sr2', 2), ('sr4', 4), ('deblur', 1)])
def test_tasks(call, folder, task, scale):
    assert call('restore', '--task', task, 'in/a.png', '-o', 'large.tif', '--steps', '0', '--device', 'cpu') == 0
    assert Photo.read(folder / 'large.tif').pixels.shape == (24 * scale, 40 * scale, 3)


def test_a_bad_file_is_named_and_the_rest_is_done(call, folder, capsys):
    (folder / 'in/bad.png').write_text('no image')
    assert call('denoise', 'in', '-o', 'out', '--steps', '0', '--device', 'cpu') == 1
    told = capsys.readouterr().err
    assert 'error: cannot read the image in/bad.png' in told and '1 of 3 images could not be restored' in told
    assert (folder / 'out/a.png').is_file() and (folder / 'out/sub/b.jpg').is_file()
    assert not (folder / 'out/bad.png').exists()


def test_an_interruption_leaves_whole_files(call, folder, monkeypatch, capsys):
    write = Photo.write

    def interrupted(self, pixels, path):
        if path.name == 'b.jpg':
            raise KeyboardInterrupt
        write(self, pixels, path)

    monkeypatch.setattr(Photo, 'write', interrupted)
    assert call('denoise', 'in', '-o', 'out', '--steps', '0', '--device', 'cpu') == 130
    assert 'the same command goes on where it was' in capsys.readouterr().err
    assert [path.name for path in (folder / 'out').rglob('*') if path.is_file()] == ['a.png']


def test_progress_is_told_in_images_megapixels_and_time(call, capsys):
    assert call('denoise', 'in', '-o', 'out', '--steps', '1', '--no-guard', '--device', 'cpu') == 0
    told = capsys.readouterr().err
    assert 'image 2 of 2, b.jpg' in told and ' of 0.0 MP' in told and 'MP/s' in told and ' left' in told


@pytest.mark.slow
def test_a_network_of_ones_own(call, folder):
    text = Path(find_option_file('denoise/test_fast.yml')).read_text(encoding='utf-8')
    (folder / 'own.yml').write_text(re.sub('experiments/.*net_g_latest.pth', 'weights/best.pth', text).replace(
        '  type: MultiTaskNet', '  type: MultiTaskNet\n  num_feat: 64\n  feat_step: 32'))
    assert call('denoise', 'in/a.png', '-opt', 'own.yml', '--steps', '0', '-o', 'out', '--device', 'cpu') == 0
    expected = Restorer.from_pretrained('best', 'cpu').restore(folder / 'in/a.png', steps=0)
    np.testing.assert_array_equal(Photo.read(folder / 'out/a.png').pixels, expected)


@pytest.mark.parametrize('arguments, message', [
    (('denoise', 'lost', '-o', 'out'), 'there is no file or folder lost'),
    (('denoise', 'empty', '-o', 'out'), 'empty holds no image (.jpg, '),
    (('denoise', 'in', '-o', 'out.png'), '-o out.png is one file, but there are 2 images'),
    (('denoise', 'in', '-o', 'in'), 'in/a.png would be written over'),
    (('denoise', 'in/a.png', 'in', '-o', 'in'), 'in/a.png would be written over'),
    (('denoise', 'in', '-o', 'out.bmp'), '-o out.bmp: the ending must be one of .jpg'),
    (('denoise', 'in/text.gif', '-o', 'out'), 'in/text.gif: the ending must be one of .jpg'),
    (('denoise', 'in', 'in/a.png', '-o', 'out'), 'in/a.png and in/a.png would both be written to out/a.png'),
    (('denoise', 'in', '-o', 'out', '--device', 'abacus'), "device 'abacus' is unknown"),
    (('denoise', 'in', '-o', 'out', '-opt', 'lost.yml'), 'there is no file lost.yml'),
    (('denoise', 'in', '-o', 'out', '--report', 'in/a.png'), '--report in/a.png is a file; name a folder'),
    (('restore', '--task', 'sr2', 'in', '-o', 'out', '--steps', '1'), 'no objective to adapt on'),
    (('denoise', 'in/a.png', '-o', 'out', '--tile', '33'), 'tile must be a multiple of 4, not 33'),
])
def test_mistakes_write_nothing(call, folder, capsys, arguments, message):
    (folder / 'empty').mkdir()
    (folder / 'in/text.gif').touch()
    assert call(*arguments) == 2
    assert message in capsys.readouterr().err
    assert not (folder / 'out').exists() and not (folder / 'out.png').exists()


def adapting(**changes):
    return {'val': {'adapt': {'steps': 1, 'lr': 0.001, **changes}}}


RATES = {'inner_rates': 'heads'}  # in the checkpoint


@pytest.mark.parametrize('changes, message', [
    (adapting(aux_opt={'type': 'BlindSpotLoss', 'ratio': 7}), 'val: adapt: aux_opt: ratio must be at most 1, not 7'),
    (adapting(aux_opt={'type': 'SumObjective', 'objectives': 3}), 'aux_opt: objectives must be a list, not 3'),
    (adapting(aux_opt={'type': 'SURELoss', 'epsilon': -1}), 'aux_opt: epsilon must be greater than 0'),
    (adapting(guard={'every': 0, 'aux_opt': {'type': 'BlindSpotLoss'}}), 'val: adapt: guard: every must be at least 1'),
    (adapting(params='some'), "params must be one of heads, all, gains, input, not 'some'"),
    (adapting(lr=-1), 'lr must be greater than 0'), ({'network_g': None}, "network_g must be a section with the key"),
    ({'network_g': 'none of it'}, "own.yml: key 'network_g' is missing"),
    ({'network_g': {'type': 'MultiTaskNet', 'num_feat': 0}}, 'network_g: MultiTaskNet: num_feat must be a positive'),
    ({'network_g': {'type': 'MultiTaskNet', 'scale': 9}}, 'network_g: MultiTaskNet: scale must be one of'),
    ({**RATES, **adapting(lr=None, optimizer='adam')}, 'learned rates are those of optimizer: sgd; give a lr for adam'),
    ({**RATES, **adapting(lr=None, params='all')}, 'learned rates are those of params: heads; give a lr for all'),
])
def test_mistakes_in_an_option_file_are_mistakes_of_the_user_s(call, folder, capsys, changes, message):
    section = {'num_feat': 4, 'feat_step': 2, 'num_block': 1, 'num_level': 2}
    net = MultiTaskNet(**section)
    rates = {'inner_rates': InnerRates(net, 0.1).state_dict()} if 'inner_rates' in changes else {}
    torch.save({'params': net.state_dict(), **rates}, 'own.pth')
    opt = {'name': 'own', 'model_type': 'MetaTransferModel', 'num_gpu': 0, 'datasets': {},
           'network_g': {'type': 'MultiTaskNet', **section}, 'path': {'pretrain_network_g': 'own.pth'},
           **adapting(), **{key: value for key, value in changes.items() if key != 'inner_rates'}}
    if opt['network_g'] == 'none of it':
        del opt['network_g']
    (folder / 'own.yml').write_text(yaml.safe_dump(opt))
    for arguments in (('denoise', 'in/a.png', '-o', 'out.png', '-opt', 'own.yml', '--device', 'cpu'),
                      ('export', '-o', 'net.pth', '-opt', 'own.yml', '--image', 'in/a.png', '--device', 'cpu')):
        assert call(*arguments) == 2
        told = capsys.readouterr().err
        assert told.startswith('error: ') and message in told and told.count('\n') == 1
    assert not (folder / 'out.png').exists() and not (folder / 'net.pth').exists()


@pytest.mark.parametrize('arguments', [('denoise', 'a.png'), ('denoise', 'a.png', '-o', 'b.png', '--steps', '-1'),
                                       ('denoise', 'a.png', '-o', 'b.png', '--lr', '0'), ('polish',),
                                       ('restore', 'a.png', '-o', 'b'), ('denoise', 'a', '-o', 'b', '--bogus', 'c'),
                                       ('prepare', 'pairs', 'a', '-o', 'b', 'c'), ('train', 'a', '-opt', 'b'), ()])
def test_a_wrong_call_is_told_by_the_parser(call, arguments):
    with pytest.raises(SystemExit) as caught:
        call(*arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize('name, text', [('train', 'usage: maxl-sr train'), ('test', 'usage: maxl-sr test'),
                                        ('prepare', 'usage: maxl-sr prepare'), ('compare', 'usage: maxl-sr compare'),
                                        ('export', 'usage: maxl-sr export')])
def test_the_other_commands_are_there(name, text):
    done = python('-m', 'maxl_sr', name, '--help')
    assert done.returncode == 0 and done.stdout.startswith(text)

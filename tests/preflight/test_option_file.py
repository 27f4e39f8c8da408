"""A mistake in an option file as a whole: exit code 2 and one sentence, before anything is written."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
import yaml

from maxl_sr.utils import packaged
from tests.helpers import GONE, edited, meta_test_options, train_options


@pytest.mark.parametrize('text, told', [
    ('name: [', 'is not valid YAML'),
    ('- name', 'is no option file'),
    ('', 'is no option file'),
    ('name: x\nmodel_type: MAXLModel\nnum_gpu: 0\npath: {}\ndatasets: 5', 'datasets cannot be 5'),
])  # yapf: disable
def test_not_an_option_file(refused, tmp_path, text, told):
    (tmp_path / 'x.yml').write_text(text)
    refused('train', 'x.yml', 'x.yml', told)


def test_option_file_that_is_not_text(refused, tmp_path):
    (tmp_path / 'x.yml').write_bytes(b'\xff\xfe\x00')
    refused('train', 'x.yml', 'x.yml is not valid YAML')


def test_option_file_missing(refused):
    refused('train', 'nowhere.yml', 'there is no file nowhere.yml', 'options/cpu/stage1_maxl.yml')


def test_packaged_option_file_is_found_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert yaml.safe_load(Path(packaged.find_option_file('options/cpu/stage1_maxl.yml')).read_text())['model_type'] == \
        'MAXLModel'


@pytest.mark.parametrize('key', ['name', 'model_type', 'datasets', 'path', 'num_gpu', 'train', 'logger', 'network_g'])
def test_section_missing(refused, make_pairs, key):
    refused('train', edited(train_options('MAXLModel', make_pairs()), **{key: GONE}), f"'{key}'")


def test_test_without_val(refused, make_pairs, tmp_path):
    refused('test', edited(meta_test_options(make_pairs(), tmp_path), val=GONE), "'val'")


def test_train_file_given_to_test(refused, make_pairs):
    refused('test', train_options('MAXLModel', make_pairs()), 'datasets: train')


def test_test_file_given_to_train(refused, make_pairs, tmp_path):
    refused('train', meta_test_options(make_pairs(), tmp_path), "'train'")


def test_test_set_in_a_training(refused, make_pairs):
    opt = train_options('MAXLModel', make_pairs())
    opt['datasets']['test_1'] = dict(opt['datasets']['val'])
    refused('train', opt, 'datasets: test_1')


def test_force_yml_with_an_unknown_section(refused, make_pairs):
    refused('train', train_options('MAXLModel', make_pairs()), "--force_yml", "'trian'",
            flags=['--force_yml', 'trian:total_iter=3'])


def test_force_yml_without_a_value(refused, make_pairs):
    refused('train', train_options('MAXLModel', make_pairs()), "--force_yml", flags=['--force_yml', 'train:total_iter'])


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_gpu_asked_for_without_one(refused, make_pairs):
    refused('train', edited(train_options('MAXLModel', make_pairs()), num_gpu=1), 'num_gpu', 'no GPU')


def test_mistake_that_all_processes_find_is_told_by_the_first(run, capfd, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    with pytest.raises(SystemExit) as stop:
        run('train', 'nowhere.yml')
    assert stop.value.code == 2 and not capfd.readouterr().err


def test_adapt_is_refused_where_the_model_does_not_adapt(refused, pairs):
    opt = train_options('MetaTransferModel', pairs)
    opt['model_type'] = 'SRModel'
    refused('train', opt, 'val: adapt: a SRModel does not adapt')


def test_the_option_file_can_follow_an_equals_sign(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['train', '-opt=nowhere.yml'])
    assert importlib.import_module('maxl_sr.train').main() == 2
    assert 'there is no file nowhere.yml' in capfd.readouterr().err

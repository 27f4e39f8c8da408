"""Checkpoints and states that cannot be read are refused before anything is written."""

from pathlib import Path

import pytest
import torch

from tests.helpers import edited, meta_test_options, train_options


@pytest.fixture
def trained(run, pairs, tmp_path):
    """Options of a test of freshly trained networks; what the training wrote is out of the way."""
    assert run('train', edited(train_options('MAXLModel', pairs), train__total_iter=2)) == 0
    models = (tmp_path / 'experiments').rename(tmp_path / 'trained') / 'tiny/models'
    return meta_test_options(pairs, models)


def test_checkpoint_of_another_width(refused, trained):
    refused('test', edited(trained, network_g__num_feat=4), 'net_g_latest.pth', 'another MultiTaskNet', '(8, 3, 3, 3)')


def test_checkpoint_of_another_type(refused, trained):
    wrong = trained['path']['pretrain_network_m']
    refused('test', edited(trained, path__pretrain_network_g=wrong), 'net_m_latest.pth', 'another network')


@pytest.mark.parametrize('kept', [0, 10, 3000])
def test_truncated_checkpoint(refused, trained, kept):
    path = Path(trained['path']['pretrain_network_g'])
    path.write_bytes(path.read_bytes()[:kept])
    refused('test', trained, 'path: pretrain_network_g', 'net_g_latest.pth', 'not a whole one')


def test_text_called_pth(refused, trained):
    Path(trained['path']['pretrain_network_g']).write_text('no checkpoint')
    refused('test', trained, 'path: pretrain_network_g', 'net_g_latest.pth')


@pytest.mark.parametrize('content', [[1, 2], {'params': 5}, {'params': {'a': 1}}, {'weights': {}}, torch.zeros(2)])
def test_file_of_torch_that_is_no_checkpoint(refused, trained, content):
    torch.save(content, trained['path']['pretrain_network_g'])
    refused('test', trained, 'path: pretrain_network_g', 'net_g_latest.pth')


def test_damaged_resume_state(refused, trained, pairs, tmp_path):
    (tmp_path / 'x.state').write_bytes(b'no state')
    refused('train', edited(train_options('MAXLModel', pairs), path__resume_state='x.state'), 'resume_state', 'x.state')


def test_resume_state_without_its_networks(refused, trained, pairs):
    state = 'trained/tiny/training_states/2.state'
    refused('train', edited(train_options('MAXLModel', pairs), path__resume_state=state), 'resume_state',
            'net_g_2.pth')

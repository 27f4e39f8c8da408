"""What goes wrong while a training runs ends it in one sentence, at its last good checkpoint."""

import os

import pytest
import torch
from basicsr.utils.registry import LOSS_REGISTRY

from maxl_sr import pipeline
from tests.helpers import edited, train_options


def finite(path):
    return all(torch.isfinite(value).all() for value in torch.load(path)['params'].values())


@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
def test_training_whose_loss_is_not_finite_stops_at_its_last_good_checkpoint(refused, pairs, tmp_path, model):
    opt = edited(train_options(model, pairs), train__optim_g__lr=1e30, logger__save_checkpoint_freq=1)
    refused('train', opt, 'iteration 2: the loss is', 'training_states/1.state', written=True)
    models = tmp_path / 'experiments/tiny/models'
    assert sorted(os.listdir(models)) == ['net_g_1.pth', 'net_m_1.pth']
    assert finite(models / 'net_g_1.pth') and finite(models / 'net_m_1.pth')


if 'KinkLoss' not in LOSS_REGISTRY:

    @LOSS_REGISTRY.register()
    class KinkLoss(torch.nn.Module):
        """A finite loss whose gradient is NaN: the root of an absolute difference of zero."""

        def forward(self, pred, target):
            return (pred - target).abs().mean() + (pred - pred.detach()).abs().sqrt().mean()


@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
def test_gradient_that_is_not_finite_does_not_reach_a_checkpoint(refused, pairs, tmp_path, model):
    opt = edited(train_options(model, pairs), train__pixel_opt={'type': 'KinkLoss'}, logger__save_checkpoint_freq=1)
    refused('train', opt, 'iteration 1: the ', 'no checkpoint had been saved yet', written=True)
    assert not os.listdir(tmp_path / 'experiments/tiny/models')


@pytest.mark.parametrize('workers, rank', [(0, 0), (1, 0), (0, 1)])
def test_image_lost_during_training(refused, pairs, monkeypatch, workers, rank):
    monkeypatch.setenv('RANK', str(rank))
    opt = edited(train_options('MAXLModel', pairs), datasets__train__num_worker_per_gpu=workers)
    monkeypatch.setattr(pipeline, 'preflight', lambda opt: (pairs / 'gt/03.png').write_text('no picture'))
    refused('train', opt, 'cannot read the image', 'gt/03.png', written=True)

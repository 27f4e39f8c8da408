"""How a model computes: memory, autocast, samples together."""

import numpy as np
import pytest
import torch

import maxl_sr.meta
from tests.helpers import batch, build_model, train_options


@pytest.mark.parametrize('free, choice', [(2 ** 40, 'stored'), (2 ** 10, 'replay')])
def test_auto_chooses_the_meta_gradient_by_free_memory(free, choice, make_pairs, tmp_path, monkeypatch):
    measured = []

    def stored_bytes(net, *rest, **more):
        measured.append(net)
        return maxl_sr.meta.stored_bytes(net, *rest, **more)

    monkeypatch.setattr('maxl_sr.models.meta_transfer_model.free_memory', lambda device: free)
    monkeypatch.setattr('maxl_sr.models.meta_transfer_model.stored_bytes', stored_bytes)
    built = build_model(train_options('MetaTransferModel', make_pairs()), tmp_path)
    built.feed_data(batch())
    built.optimize_parameters(1)
    assert built._meta_gradient == choice
    assert measured[0] is not built.net_g  # its graph would keep an iteration from becoming a CUDA graph


@pytest.mark.parametrize('meta_gradient', ['stored', 'replay'])
def test_autocast_stays_near_float32(meta_gradient, make_pairs, tmp_path):
    grads = []
    for autocast in ('no', 'bf16'):
        opt = train_options('MetaTransferModel', make_pairs(autocast))
        opt['train'].update(autocast=autocast)
        opt['train']['inner'].update(meta_gradient=meta_gradient)
        torch.manual_seed(0)
        built = build_model(opt, tmp_path)
        built.feed_data(batch())
        built.optimize_parameters(1)
        grads.append(torch.cat([w.grad.flatten() for w in (*built.net_g.parameters(), *built.net_m.parameters())]))
    assert not torch.equal(*grads) and (grads[0] - grads[1]).norm() < 0.1 * grads[0].norm()


def test_samples_together_train_like_one_by_one(make_pairs, tmp_path):
    trained = []
    for samples in ('one_by_one', 'together'):
        opt = train_options('MetaTransferModel', make_pairs(samples))
        opt['train']['inner'].update(samples=samples)
        torch.manual_seed(0)
        built = build_model(opt, tmp_path)
        built.feed_data(batch())
        built.optimize_parameters(1)
        trained.append(torch.cat([w.grad.flatten() for w in (*built.net_g.parameters(), *built.net_m.parameters())]))
    assert (trained[0] - trained[1]).norm() < 1e-5 * trained[0].norm()


def test_maxl_runs_in_autocast(make_pairs, tmp_path):
    opt = train_options('MAXLModel', make_pairs())
    opt['train']['autocast'] = 'bf16'
    built = build_model(opt, tmp_path)
    for iteration in (1, 2):
        built.feed_data(batch())
        built.optimize_parameters(iteration)
        assert np.isfinite(list(built.log_dict.values())).all()
    assert all(w.grad.dtype == torch.float32 for w in built.net_m.parameters())

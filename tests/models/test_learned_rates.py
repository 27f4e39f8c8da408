"""Learned rates of the inner loop: trained, saved, used at test, checked."""

import numpy as np
import pytest
import torch

from maxl_sr.adaptation.checkpoint import check_rates, saved_rates
from maxl_sr.errors import UserError
from maxl_sr.losses.masked_reconstruction_loss import MaskedReconstructionLoss
from maxl_sr.meta import Task, adapt
from tests.helpers import batch, build_model, meta_test_options, slow, train_options


def with_learned_rates(opt, learn_lr='tensor', per_step=True):
    opt['train']['inner'].update(learn_lr=learn_lr, per_step=per_step)
    opt['train']['optim_r'] = {'type': 'Adam', 'lr': 0.05}
    opt['val']['adapt'].pop('lr')
    return opt


@pytest.mark.parametrize('learn_lr', ['tensor', 'parameter'])
@pytest.mark.parametrize('meta_gradient', ['stored', *slow('replay')])
def test_learned_rates_are_trained_saved_and_used_at_test(learn_lr, meta_gradient, make_pairs, run, tmp_path):
    pairs = make_pairs(count=2)
    opt = with_learned_rates(train_options('MetaTransferModel', pairs), learn_lr)
    opt['train']['inner']['meta_gradient'] = meta_gradient
    assert run('train', opt) == 0
    log = next((tmp_path / 'experiments/tiny').glob('*.log')).read_text()
    assert 'inner_lr_max: ' in log and 'MaskedReconstructionLoss, inner rates as learned' in log
    path = tmp_path / 'experiments/tiny/models/net_g_latest.pth'
    rates = saved_rates(path)
    assert rates.kind() == ('heads', learn_lr, 2)
    assert all(not torch.equal(rate, torch.full_like(rate, np.log(0.1))) for rate in rates.parameters())

    test_opt = meta_test_options(pairs, path.parent)
    test_opt['val']['adapt'] = {'steps': 3, 'params': 'heads'}  # the third step has the rates of the second
    built = build_model(test_opt, tmp_path, is_train=False)
    built.feed_data(batch(count=1))
    built.test()
    task = Task(built.net_g, MaskedReconstructionLoss(), built.lq, built.net_m(built.lq).detach())
    of_step = [{name: rate[min(k, 1)].exp().detach() for name, rate in
                ((key.replace('/', '.'), rate) for key, rate in rates.log_rates.items())} for k in range(3)]
    *_, (adapted, _) = adapt(task, 3, rates=of_step)
    restored = task.restored(adapted).detach()
    torch.testing.assert_close(built.output, restored, rtol=0, atol=1e-6)
    test_opt['val']['adapt']['lr'] = 0.1  # a rate of the option file wins
    assert build_model(test_opt, tmp_path, is_train=False).adapter.rate() == 0.1


def test_learned_rates_go_on_in_a_second_training(make_pairs, run, tmp_path):
    opt = with_learned_rates(train_options('MetaTransferModel', make_pairs()))
    assert run('train', opt) == 0
    path = tmp_path / 'experiments/tiny/models/net_g_latest.pth'
    opt['path']['pretrain_network_g'] = str(path)
    built = build_model(opt, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(built.inner_rates.parameters(), saved_rates(path).parameters()))
    opt['train']['inner']['per_step'] = False
    assert run('train', opt) == 2


@pytest.mark.parametrize('change, message', [
    (lambda opt: opt['train'].pop('optim_r'), "key 'optim_r'"),
    (lambda opt: opt['train']['inner'].update(learn_lr=False), 'optim_r is given, but inner: learn_lr is no'),
    (lambda opt: (opt['train']['inner'].update(learn_lr='no'), opt['train'].pop('optim_r')), 'per_step is of learned'),
    (lambda opt: opt['train']['inner'].update(per_step=1), 'per_step must be true or false, not 1'),
    (lambda opt: opt['val']['adapt'].update(params='all'), 'learned rates are those of params: heads'),
    (lambda opt: opt['val']['adapt'].update(optimizer='adam'), 'learned rates are those of optimizer: sgd'),
    (lambda opt: opt['train'].update(autocast='fp16'), 'autocast must be one of no, bf16'),
    (lambda opt: (opt['train'].update(autocast='bf16'), opt['train']['inner'].update(samples='together')),
     'autocast: bf16 needs inner: samples: one_by_one'),
    (lambda opt: opt['train']['aux_opt'].update(fixed_mask='edges'), 'fixed_mask and network_m are given'),
    (lambda opt: opt['train'].update(cuda_graph='yes'), 'cuda_graph must be true or false'),
    (lambda opt: opt.update(network_g={'type': 'RIDNet'}), 'network_g: type: RIDNet has no auxiliary head'),
])
def test_wrong_options_of_learned_rates_are_refused(change, message, make_pairs, tmp_path):
    opt = with_learned_rates(train_options('MetaTransferModel', make_pairs()))
    change(opt)
    with pytest.raises(UserError, match=message):
        build_model(opt, tmp_path)


def test_rates_of_another_head_are_refused(make_pairs, tmp_path):
    built = build_model(with_learned_rates(train_options('MetaTransferModel', make_pairs())), tmp_path)
    del built.inner_rates.log_rates['aux_head/0/weight']
    with pytest.raises(UserError, match='its inner rates lack one for aux_head.0.weight'):
        check_rates(built.inner_rates, built.net_g)

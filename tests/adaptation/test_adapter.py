"""Algorithm 3 by the two ways to it: a test from an option file, and the Restorer. They are one."""

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.models import build_model
from basicsr.utils import tensor2img

from maxl_sr import Restorer
from maxl_sr.adaptation import Adapter
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.presets import PRESETS
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.utils.packaged import find_option_file, find_weights
from tests.helpers import slow, tiny_mask_net


def noisy(side=64):
    rng = np.random.default_rng(0)
    clean = cv2.resize(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
    image = np.clip(clean + rng.normal(0, 25, clean.shape), 0, 255).round().astype(np.uint8)
    done, data = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 60])
    assert done
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def by_option_file(opt, image):
    """Step and pixels of a model of BasicSR on the options `opt`."""
    opt.update(is_train=False, dist=False, rank=0, num_gpu=0)
    model = build_model(opt)
    model.feed_data({'lq': torch.from_numpy(image).permute(2, 0, 1)[None] / 255, 'lq_path': ['x.png']})
    model.test()
    return model.adapted.guard_step if model.adapt_opt is not None else 0, tensor2img([model.output])[..., ::-1]


@pytest.mark.parametrize('name', ['fast', *slow(*(name for name in PRESETS if name != 'fast'))])
def test_every_preset_is_the_same_by_both_ways(name):
    image = noisy()
    opt = yaml.safe_load(open(find_option_file(PRESETS[name].options), encoding='utf-8'))
    opt['path'].update(pretrain_network_g=find_weights(f'weights/{name}.pth'), param_key_g='params', strict_load_g=True)
    if opt.get('network_m'):
        opt['path'].update(pretrain_network_m=find_weights(f'weights/{name}_mask.pth'))
    step, pixels = by_option_file(opt, image)
    run = Restorer.from_pretrained(name, 'cpu').run(image)
    np.testing.assert_array_equal(run.image, pixels)
    assert step is None or run.steps == step


def nets():
    torch.manual_seed(0)
    return MultiTaskNet(num_feat=8, feat_step=4, num_block=1).eval(), tiny_mask_net().eval()


@pytest.mark.parametrize('params', ['heads', 'all', 'gains', 'input'])
def test_mask_and_guard_are_the_same_by_both_ways(params, tmp_path):
    image = noisy(32)
    net, mask_net = nets()
    section = {'steps': 4, 'lr': 1e-3, 'params': params, 'optimizer': 'adam', 'aux_opt': {'type': 'BlindSpotLoss'},
               'guard': {'margin': 0.0, 'every': 1, 'aux_opt': {'type': 'Neighbor2NeighborLoss', 'consistency': 0}}}
    for label, module in (('g', net), ('m', mask_net)):
        torch.save({'params': module.state_dict()}, tmp_path / f'{label}.pth')
    opt = {'name': 'x', 'model_type': 'MetaTransferModel', 'scale': 1,
           'network_g': {'type': 'MultiTaskNet', 'num_feat': 8, 'feat_step': 4, 'num_block': 1},
           'network_m': {'type': 'MaskNet', 'num_feat': 4, 'num_block': 1},
           'path': {f'pretrain_network_{label}': str(tmp_path / f'{label}.pth') for label in 'gm'},
           'val': {'adapt': section}}
    step, pixels = by_option_file(opt, image)
    run = Restorer(net, Adapt(**section), mask_net=mask_net).run(image)
    np.testing.assert_array_equal(run.image, pixels)
    assert run.steps == step > 0


def test_the_guard_gets_no_mask():
    net, _ = nets()
    y = torch.rand(1, 3, 16, 16)
    options = Adapt(steps=2, lr=1e-3, aux_opt={'type': 'BlindSpotLoss'},
                    guard={'margin': 0, 'aux_opt': {'type': 'BlindSpotLoss', 'seed': 1}})
    seen = []
    for mask in (None, torch.zeros(1, 1, 16, 16)):
        adapter = Adapter(options)
        loss = adapter.judge.loss

        def watched(heads, prepared, given, loss=loss):
            seen.append(given)
            return loss(heads, prepared, given)

        adapter.judge.loss = watched
        for _ in adapter.adapt(net, y, mask):
            pass
    assert seen and all(given is None for given in seen)


def test_rates_come_from_the_caller_the_options_the_checkpoint_or_the_paper():
    from maxl_sr.meta import InnerRates
    net, _ = nets()
    rates = InnerRates(net, 0.3)
    assert Adapter(Adapt()).rate() == 1e-5
    assert Adapter(Adapt(lr=0.1), rates=rates).rate() == 0.1
    assert Adapter(Adapt(lr=0.1), rates=rates).rate(0.2) == 0.2
    assert Adapter(Adapt(), rates=rates).rate() is None
    learned = rates(3)
    assert len(learned) == 3 and learned[0]['aux_head.0.weight'].item() == pytest.approx(0.3)


def test_adapted_gains_make_a_network_and_an_offset_does_not():
    image = noisy(32)
    net, _ = nets()
    section = dict(steps=3, lr=1e-2, optimizer='adam', aux_opt={'type': 'BlindSpotLoss'})
    restorer = Restorer(net, Adapt(params='gains', **section))
    adapted, step = restorer.adapted(image)
    x = torch.from_numpy(image).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        pixels = tensor2img([adapted(x)], rgb2bgr=False)
    assert step == 3
    assert np.abs(pixels.astype(int) - restorer.run(image).image).max() <= 1  # rounding of the product of the weights
    with pytest.raises(ValueError, match='params: input adapts no weights'):
        Restorer(net, Adapt(params='input', **section)).adapted(image)

"""Every option file that comes with the package, on tiny data, and the order of its keys."""

from pathlib import Path

import cv2
import pytest
import torch
import yaml
from basicsr.archs import build_network

from maxl_sr.errors import UserError
from maxl_sr.utils.packaged import find_option_file, find_weights, option_folder
from tests.helpers import slow

FILES = sorted(path.relative_to(option_folder()).as_posix() for path in option_folder().rglob('*.yml'))
QUICK = ['cpu/stage1_maxl.yml', 'cpu/stage2_mtl.yml', 'denoise/fast.yml', 'sr/x2.yml']
ORDER = ['name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'datasets', 'network_g', 'network_d', 'network_m',
         'path', 'train', 'val', 'logger', 'dist_params']
SMALL = {'MIRNet': {'num_feat': 8, 'num_rrg': 1, 'num_msrb': 1}, 'MSRResNet': {'num_feat': 8, 'num_block': 1},
         'EDSR': {'num_feat': 8, 'num_block': 1}, 'RIDNet': {'mid_channels': 16},
         'UNetDiscriminatorSN': {'num_feat': 4}}


def smaller(pairs, scale):
    """The folder of the clean images of `make_pairs` at 1/scale of their size."""
    folder = pairs / f'x{scale}'
    folder.mkdir(exist_ok=True)
    for path in (pairs / 'gt').iterdir():
        image = cv2.imread(str(path))
        cv2.imwrite(str(folder / path.name), image[::scale, ::scale])
    return folder


def tiny(opt, pairs, tmp_path):
    """The options on the pairs of `make_pairs`, for two iterations."""
    opt['num_gpu'] = 0
    for section in opt['datasets'].values():
        for part in section.get('sets', [section]):
            part.update({key: f'{pairs}/{key[-2:]}' for key in part if key.startswith('dataroot_')})
            part['io_backend'] = {'type': 'disk'}
            if opt['scale'] > 1 and 'dataroot_lq' in part:
                part['dataroot_lq'] = str(smaller(pairs, opt['scale']))
        if 'gt_size' in section:
            section.update(gt_size=16, batch_size_per_gpu=2, num_worker_per_gpu=0, dataset_enlarge_ratio=1)
    for net in (opt['network_g'], opt['network_g'].get('base'), opt.get('network_d')):
        if net is not None:
            net.update(SMALL.get(net['type'], {}))
    for key in [key for key in opt['path'] if key.startswith('pretrain') and opt['path'][key]]:
        path = tmp_path / f'{key}.pth'
        torch.save({'params': build_network(opt[key.removeprefix('pretrain_')]).state_dict()}, path)
        opt['path'][key] = str(path)
    adapt = (opt.get('val') or {}).get('adapt') or {}
    if adapt:
        adapt['steps'] = min(adapt['steps'], 2)
    if 'train' in opt:
        opt['train']['total_iter'] = 2
        if 'steps' in opt['train'].get('inner', {}):
            opt['train']['inner']['lr'] = 1e-4  # an untrained network diverges at the rate of a trained one
        if 'alternate_every' in opt['train']:
            opt['train']['alternate_every'] = 1
    return opt


@pytest.mark.parametrize('name', [*QUICK, *slow(*sorted(set(FILES) - set(QUICK)))])
def test_runs(name, make_pairs, run, tmp_path):
    with open(find_option_file(f'options/{name}'), encoding='utf-8') as file:
        opt = yaml.safe_load(file)
    command = 'train' if 'train' in opt else 'test'
    assert run(command, tiny(opt, make_pairs(count=2), tmp_path)) == 0


@pytest.mark.parametrize('name', FILES)
def test_keys_stand_in_the_order_of_basicsr(name):
    with open(find_option_file(name), encoding='utf-8') as file:
        keys = list(yaml.safe_load(file))
    assert keys == [key for key in ORDER if key in keys]


def test_the_settings_of_the_paper():
    stage1, stage2, test = (yaml.safe_load(open(find_option_file(f'paper/{name}.yml'), encoding='utf-8'))
                            for name in ('stage1_maxl', 'stage2_mtl', 'test_nam'))
    train = stage1['train']
    assert (train['optim_g']['lr'], train['optim_m']['lr'], train['inner']['lr']) == (1e-3, 1e-3, 1e-3)
    assert (stage1['datasets']['train']['batch_size_per_gpu'], stage1['datasets']['train']['gt_size']) == (16, 128)
    assert train['mask_opt']['loss_weight'] == 0.01 and train['alternate_every'] == 'epoch'
    train = stage2['train']
    assert train['inner'] == {'steps': 5, 'lr': 5e-5, 'loss_weight': 10.0, 'params': 'heads', 'meta_gradient': 'stored'}
    assert (train['optim_g']['lr'], train['optim_m']['lr'], train['pixel_opt']['loss_weight']) == (5e-5, 5e-5, 10.0)
    assert (stage2['datasets']['train']['batch_size_per_gpu'], stage2['datasets']['train']['gt_size']) == (2, 128)
    assert stage2['datasets']['train']['by'] == 'image'
    for opt in (stage1, stage2):
        data, train = opt['datasets']['train'], opt['train']
        assert not data['use_hflip'] and not data['use_rot'] and train['scheduler']['milestones'] == []
        assert train['optim_g']['betas'] == train['optim_m']['betas'] == [0.9, 0.999]
    adapt = test['val']['adapt']
    assert (adapt['steps'], adapt['lr'], adapt['params'], adapt['optimizer']) == (5, 1e-5, 'heads', 'sgd')


WEIGHTS = {'fast': {}, 'best': {'num_feat': 64, 'feat_step': 32}, 'paper': {},
           'paper_mask': {'type': 'MaskNet'}, 'sr_x2': {'scale': 2}, 'sr_x4': {'scale': 4},
           'sr_blind_x2': {'scale': 2}, 'deblur_motion': {}, 'deblur_gopro': {}}


def test_the_weights_of_the_package_have_a_text_and_fit():
    folder = Path(find_weights('weights/sr_x2.pth')).parent
    assert {path.stem for path in folder.glob('*.pth')} == {path.stem for path in folder.glob('*.md')} == set(WEIGHTS)
    for name, arguments in WEIGHTS.items():
        net = build_network({'type': 'MultiTaskNet', **arguments})
        net.load_state_dict(torch.load(find_weights(f'weights/{name}.pth'))['params'])


def test_weights_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_weights('experiments/x.pth') == 'experiments/x.pth'
    with pytest.raises(UserError, match='no weights weights/sr.pth; the package brings weights/best.pth, '):
        find_weights('weights/sr.pth')
    with pytest.raises(UserError, match='no weights'):
        find_weights('weights/../errors.py')
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'weights/sr_x2.pth').touch()
    assert find_weights('weights/sr_x2.pth') == 'weights/sr_x2.pth'  # a file of the user's goes first

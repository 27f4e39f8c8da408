"""What the pages in docs show is run, so that it cannot rot."""

import re
import runpy
import shutil
import sys
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from torch import nn

import maxl_sr.__main__  # isort: skip
import maxl_sr.train  # isort: skip
from basicsr.archs import build_network
from basicsr.utils.registry import ARCH_REGISTRY

from maxl_sr import Restorer
from maxl_sr.settings.adaptation import Adapt
from maxl_sr.settings.section import parse
from tests.helpers import NETS, ROOT, python


def blocks(page, language):
    return re.findall(rf'```{language}\n(.*?)```', (ROOT / 'docs' / page).read_text(encoding='utf-8'), re.DOTALL)


def smoothing(net):
    """`net` as a denoiser: the mean over 3×3 pixels, twice."""
    blur, pixel = torch.full((3, 3), 1 / 9), torch.zeros(3, 3)
    pixel[1, 1] = 1
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        for channel in range(3):
            net.body[0].weight[channel, channel], net.body[0].weight[channel + 3, channel] = blur, pixel
            net.tail.weight[channel, channel], net.tail.weight[channel, channel + 3] = blur, -pixel
    return net


@pytest.fixture
def shown(monkeypatch, tmp_path):
    """What the network's first block of Python defines, in a folder of its own and with a registry of its own."""
    monkeypatch.setattr(ARCH_REGISTRY, '_obj_map', dict(ARCH_REGISTRY._obj_map))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path('my_net.py').write_text(blocks('adapt-your-network.md', 'python')[0], encoding='utf-8')
    space = runpy.run_path('my_net.py')
    torch.manual_seed(0)
    torch.save({'params': smoothing(space['MyNet']()).state_dict()}, 'my_net.pth')
    rng = np.random.default_rng(0)
    space['image'] = np.clip(128 + rng.normal(0, 20, (64, 72, 3)), 0, 255).astype(np.uint8)
    return space


def test_a_network_of_ones_own_adapts_as_the_page_says(shown):
    exec(blocks('adapt-your-network.md', 'python')[1], shown)
    run = shown['run']
    assert run.image.shape == shown['image'].shape and run.steps == 5 and run.losses[-1] < run.losses[0]
    plain = shown['restorer'].run(shown['image'], steps=0).image
    assert not np.array_equal(run.image, plain)
    with torch.no_grad():
        x = torch.from_numpy(shown['image']).permute(2, 0, 1)[None] / 255
        net = shown['MyNet']()
        net.load_state_dict(torch.load('my_net.pth')['params'])
        assert abs((net(x)[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy() - plain).max() < 1


def test_the_loop_of_the_page_restores_as_the_restorer_does(shown, capsys):
    for block in blocks('adapt-your-network.md', 'python')[1:3]:
        exec(block, shown)
    losses = [float(line) for line in capsys.readouterr().out.splitlines()]
    assert losses == pytest.approx(shown['run'].losses, abs=1e-4)
    restored = shown['restored'][0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert abs(restored - shown['run'].image).max() < 1


def test_without_the_optional_methods_the_result_is_the_same(shown):
    exec(blocks('adapt-your-network.md', 'python')[1], shown)

    class Whole(nn.Module):
        def __init__(self, num_feat):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, num_feat, 3, padding=1), nn.ReLU())
            self.tail = nn.Conv2d(num_feat, 3, 3, padding=1)

        def forward(self, x):
            return x + self.tail(self.body(x))

    ARCH_REGISTRY._do_register('Whole', Whole)
    net = shown['WithAuxiliaryHead']({'type': 'Whole', 'num_feat': 32}, head=['tail'])
    net.load_state_dict(shown['net'].state_dict())
    run = Restorer(net, shown['restorer']._options).run(shown['image'])
    assert run.losses == pytest.approx(shown['run'].losses, rel=1e-5)


def test_the_option_file_of_the_page_makes_a_restorer(shown):
    exec(blocks('adapt-your-network.md', 'python')[1], shown)
    opt, = map(yaml.safe_load, blocks('adapt-your-network.md', 'yaml'))
    net, mask_net = build_network(deepcopy(opt['network_g'])), build_network(deepcopy(opt['network_m']))
    net.load_state_dict(torch.load(opt['path']['pretrain_network_g'])['params'])
    adapt = parse(Adapt, opt['val']['adapt'], 'val: adapt')
    assert Restorer(net, adapt, mask_net=mask_net).run(shown['image']).image.shape == shown['image'].shape


def test_the_script_for_training_calls_the_training(shown, monkeypatch):
    del ARCH_REGISTRY._obj_map['MyNet']
    monkeypatch.delitem(sys.modules, 'my_net', raising=False)
    Path('my_train.py').write_text(blocks('adapt-your-network.md', 'python')[3], encoding='utf-8')
    monkeypatch.setattr(maxl_sr.train, 'main', lambda: 7)
    with pytest.raises(SystemExit) as done:
        runpy.run_path('my_train.py')
    assert done.value.code == 7 and 'MyNet' in ARCH_REGISTRY._obj_map
    del sys.modules['my_net']


def merged(there, given):
    """The option file with the changes of a page; a key that is not in the file is a KeyError."""
    return there | {key: merged(there[key], value) if isinstance(value, dict) else value
                    for key, value in given.items()}


@pytest.fixture
def own(make_pairs, tmp_path):
    """The option files of train.md by name, with less to do, and pairs where they say."""
    text = (ROOT / 'docs/train.md').read_text(encoding='utf-8')
    opts = {}
    for name in ('stage1_maxl', 'stage1_real', 'stage2_mtl', 'test_real'):
        changes = re.search(rf'\*\*`my_{name}\.yml`\*\*.*?```yaml\n(.*?)```', text, re.DOTALL)
        assert changes is not None
        there = yaml.safe_load((ROOT / f'options/cpu/{name}.yml').read_text(encoding='utf-8'))
        opts[name] = opt = merged(there, yaml.safe_load(changes[1]))
        assert opt['name'] == f'my_{name}'
        opt |= {key: NETS[key] for key in NETS if key in opt}
        if 'train' in opt:
            opt['datasets']['train'].update(gt_size=16, batch_size_per_gpu=2)
            opt['train'].update(total_iter=4, scheduler=opt['train']['scheduler'] | {'periods': [4]})
            opt['logger']['use_tb_logger'] = False
    opts['stage1_maxl']['train']['alternate_every'] = 2
    opts['stage2_mtl']['datasets'] = opts['stage1_real']['datasets']  # as the page says
    opts['test_real']['datasets'] = {'test_1': opts['test_real']['datasets']['test_1']}
    for part in ('train', 'val'):
        make_pairs(f'my_data/{part}', count=2)
    return opts


def test_training_on_pairs_of_ones_own_is_as_the_page_says(own, run, tmp_path, monkeypatch, capsys):
    for name in ('stage1_maxl', 'stage1_real', 'stage2_mtl'):
        assert run('train', own[name]) == 0, capsys.readouterr().err
        assert list(Path(f'experiments/my_{name}').glob('train_*.log'))
    assert run('test', own['test_real']) == 0
    assert Path('results/my_test_real/mine.csv').is_file()
    assert run('test', own['test_real'], '--force_yml', 'name=my_test_10', 'val:adapt:steps=10') == 0
    assert 'psnr_step10' in Path('results/my_test_10/mine.csv').read_text(encoding='utf-8')

    Path('my_test_real.yml').write_text(yaml.safe_dump(own['test_real'], sort_keys=False), encoding='utf-8')
    shutil.copytree('my_data/val/lq', 'PHOTOS')
    for line in '\n'.join(blocks('train.md', 'bash')).splitlines():
        if line.startswith('maxl-sr'):
            monkeypatch.setattr(sys, 'argv', line.split())
            assert maxl_sr.__main__.main() == 0, line
    assert len(list(Path('OUT').iterdir())) == 2
    cv2.imwrite('in.jpg', cv2.imread('PHOTOS/00.png'))
    exec(blocks('train.md', 'python')[0], {})
    assert Path('out.jpg').is_file()


@pytest.mark.parametrize('page', sorted((ROOT / 'docs').glob('*.md')), ids=lambda page: page.name)
def test_the_links_of_the_pages_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)#]*)(?:#[^)]*)?\)', page.read_text(encoding='utf-8')):
        assert not target or target.startswith('https://') or (page.parent / target).exists(), target


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip('mkdocs')
    done = python('-m', 'mkdocs', 'build', '--strict', '--site-dir', str(tmp_path / 'site'),
                          cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'site/api/meta/index.html').is_file()


@pytest.mark.slow
def test_the_network_of_the_readme_adapts():
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    code, = (block for block in re.findall(r'```python\n(.*?)```', text, re.DOTALL) if 'WithAuxiliaryHead' in block)
    head, base, rest = code.partition('\nbase = ')
    script = f'{head}\nimport torch\ny = torch.rand(1, 3, 16, 16){base}{rest}\nassert restored.shape == y.shape'
    done = python('-c', script, cwd=ROOT)  # imports and all
    assert done.returncode == 0, done.stderr


def test_every_test_that_the_pages_name_is_there():
    pages = [*(ROOT / 'docs').glob('*.md'), ROOT / 'CONTRIBUTING.md', ROOT / 'README.md']
    named = {name.removeprefix('tests/') for page in pages
             for name in re.findall(r'`([\w/]*\btest_\w+\.py)`', page.read_text(encoding='utf-8'))}
    made_up = {'losses/test_noisier_loss.py', 'archs/test_NAME_arch.py'}  # of CONTRIBUTING.md
    assert made_up < named
    assert not [name for name in named - made_up if not (ROOT / 'tests' / name).is_file()]
    promises = {path.relative_to(ROOT / 'tests').as_posix() for path in (ROOT / 'tests/reliability').glob('test_*.py')}
    assert promises <= named

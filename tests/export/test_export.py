"""maxl-sr export: networks for other programs."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from maxl_sr import Restorer, export
from maxl_sr.archs import multitask_arch
from maxl_sr.archs.auxiliary_head_arch import WithAuxiliaryHead
from maxl_sr.errors import UserError
from maxl_sr.photo import Photo
from maxl_sr.utils.packaged import find_option_file

SHAPES = [(1, 3, 37, 53), (3, 3, 9, 40), (1, 3, 64, 48), (1, 3, 1, 1), (1, 3, 2, 3), (1, 3, 5, 1)]
TINY = {'num_feat': 4, 'feat_step': 2, 'num_block': 1, 'num_level': 2}
RIDNET = {'type': 'RIDNet', 'in_channels': 3, 'mid_channels': 16, 'out_channels': 3, 'num_block': 1, 'img_range': 1.0}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    clean = cv2.resize(rng.random((5, 6, 3)), (96, 80), interpolation=cv2.INTER_CUBIC)
    stripes = 0.08 * np.sin(1.4 * np.arange(96))[None, :, None]  # noise that no network here knows
    noisy = (0.2 + 0.6 * clean + stripes + rng.normal(0, 0.01, clean.shape)).clip(0, 1)
    Image.fromarray((noisy * 255).round().astype(np.uint8)).save(tmp_path / 'in.png')
    return tmp_path


@pytest.fixture
def call(monkeypatch, folder):
    monkeypatch.chdir(folder)

    def run(*arguments):
        return export.main([*arguments, '--device', 'cpu'])

    return run


def runtime(model):
    session = pytest.importorskip('onnxruntime').InferenceSession(model, providers=['CPUExecutionProvider'])
    return lambda x: session.run(None, {'image': x.numpy()})[0]


@torch.no_grad()
def assert_same(run, net, shapes=SHAPES):
    for seed, shape in enumerate(shapes):
        x = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
        np.testing.assert_allclose(run(x), net(x), rtol=0, atol=1e-4)


def network(preset, **options):
    image = options.pop('image', np.zeros((8, 8, 3), np.float32))
    return Restorer.from_pretrained(preset, 'cpu').adapted(image, **options)[0]


def source(net, kind, **arguments):
    return export.Source(net.eval().requires_grad_(False), 'own', kind, arguments, None, 0, '')


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_the_enlargement_is_that_of_the_network(scale):
    for shape in [(2, 3, 9, 13), (1, 1, 1, 1), (1, 4, 2, 1), (1, 3, 3, 40)]:
        x = torch.rand(shape)
        enlarged = export.Enlargement(shape[1], scale)(x)
        torch.testing.assert_close(enlarged, multitask_arch.enlarge(x, scale), rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('preset, scale', [('fast', 1), ('sr_x2', 2), ('sr_x4', 4)])
def test_onnx_restores_as_the_network_at_any_size(call, folder, capsys, preset, scale):
    onnx = pytest.importorskip('onnx')
    assert call('-o', 'net.onnx', '--preset', preset) == 0
    assert f'net.onnx: {preset}, ' in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == ['in.png', 'net.onnx']  # no weights beside it
    assert_same(runtime('net.onnx'), network(preset, steps=0))
    model = onnx.load('net.onnx')
    onnx.checker.check_model(model, full_check=True)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told['name'] == preset and told['scale'] == str(scale) and 'research only' in told['license']
    assert model.ir_version == 8 and [(part.domain, part.version) for part in model.opset_import] == [('', 18)]
    dims = [[dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*model.graph.input, *model.graph.output)]
    enlarged = '' if scale == 1 else f'{scale}*'
    assert dims == [['batch', 3, 'height', 'width'], ['batch', 3, f'{enlarged}height', f'{enlarged}width']]
    assert b'site-packages' not in (folder / 'net.onnx').read_bytes()


@pytest.mark.slow
def test_the_weights_can_be_adapted_to_a_photograph(call, folder, capsys):
    pytest.importorskip('onnx')
    options = '--image', 'in.png', '--steps', '2', '--no-guard', '--lr', '0.01'
    assert call('-o', 'net.onnx', *options) == 0
    assert 'adapted to in.png: step 2' in capsys.readouterr().out
    adapted = network('fast', image=Photo.read('in.png').pixels, steps=2, lr=0.01, guard=False)
    assert_same(runtime('net.onnx'), adapted)
    assert call('-o', 'net.pth', *options) == 0
    weights, before = torch.load('net.pth')['params'], network('fast', steps=0).state_dict()
    torch.testing.assert_close(weights, dict(adapted.state_dict()))
    assert any(not torch.equal(weight, before[name]) for name, weight in weights.items())


@pytest.mark.slow
def test_a_guard_that_keeps_the_trained_weights_is_told(call, capsys):
    assert call('-o', 'net.pth', '--image', 'in.png', '--lr', '1e30') == 0
    assert 'adapted to in.png: none of the steps was kept' in capsys.readouterr().out
    torch.testing.assert_close(torch.load('net.pth')['params'], dict(network('fast', steps=0).state_dict()))


def test_safetensors(call):
    safetensors = pytest.importorskip('safetensors')
    assert call('-o', 'net.safetensors', '--image', 'in.png', '--steps', '1', '--no-guard') == 0
    with safetensors.safe_open('net.safetensors', 'pt') as file:
        told, weights = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}
    assert told['architecture'] == 'MultiTaskNet' and json.loads(told['arguments'])['num_level'] == 3
    assert (told['name'], told['adapted_to'], told['step']) == ('fast', 'in.png', '1')
    adapted = network('fast', image=Photo.read('in.png').pixels, steps=1, guard=False)
    torch.testing.assert_close(weights, dict(adapted.state_dict()))


def own(folder, net, section, **more):
    """An option file of a network of one's own, and its checkpoint."""
    with open(find_option_file('denoise/test_fast.yml'), encoding='utf-8') as file:
        opt = {**yaml.safe_load(file), 'network_g': section, 'path': {'pretrain_network_g': 'own.pth'}, **more}
    (folder / 'own.yml').write_text(yaml.safe_dump(opt))
    torch.save({'params': net.state_dict()}, folder / 'own.pth')


def test_a_network_of_ones_own(call, folder):
    torch.manual_seed(0)
    net = multitask_arch.ParallelMultiTaskNet(**TINY)
    own(folder, net, {'type': 'ParallelMultiTaskNet', **TINY})
    assert call('-o', 'net.pth', '-opt', 'own.yml') == 0
    assert call('-o', 'again.pth', '-opt', 'own.yml', '--weights', 'net.pth') == 0
    torch.testing.assert_close(torch.load('again.pth')['params'], dict(net.state_dict()))


def test_another_network(call, folder):
    pytest.importorskip('onnx')
    torch.manual_seed(0)
    section = {'base': RIDNET, 'head': ['tail']}
    net = WithAuxiliaryHead(**section).eval()
    own(folder, net, {'type': 'WithAuxiliaryHead', **section})
    assert call('-o', 'net.onnx', '-opt', 'own.yml') == 0
    assert_same(runtime('net.onnx'), net, SHAPES[:3])
    pytest.importorskip('safetensors')
    assert call('-o', 'net.safetensors', '-opt', 'own.yml') == 0


class ByHeight(torch.nn.Module):
    """Its values depend on the height by way of NumPy, which no export follows."""

    def forward(self, x):
        return x * float(np.sqrt(x.shape[2]))


class ByBrightness(torch.nn.Module):
    """What it does depends on the image."""

    def forward(self, x):
        return x if x.mean() > 0.4 else -x


@pytest.mark.parametrize('net', [ByHeight(), ByBrightness()])
def test_what_cannot_be_exported_is_told(net):
    pytest.importorskip('onnx')
    with pytest.raises(UserError, match='torch cannot export this Own to ONNX|the ONNX model differs from'):
        export.to_onnx(source(net, 'Own'))
    assert export.to_pth(source(net, 'Own'))


@pytest.mark.slow
def test_a_model_that_differs_is_not_written(call, folder, monkeypatch, capsys):
    pytest.importorskip('onnx')
    own(folder, multitask_arch.MultiTaskNet(**TINY), {'type': 'MultiTaskNet', **TINY})
    (folder / 'net.onnx').write_text('old')
    monkeypatch.setattr('maxl_sr.export.onnx_model.TOLERANCE', -1)
    assert call('-o', 'net.onnx', '-opt', 'own.yml') == 2
    assert 'error: the ONNX model differs from the network by' in capsys.readouterr().err
    assert (folder / 'net.onnx').read_text() == 'old'
    assert sorted(path.name for path in folder.iterdir()) == ['in.png', 'net.onnx', 'own.pth', 'own.yml']


def test_a_full_disk_leaves_nothing(call, folder, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('os.replace', full)
    assert call('-o', 'net.pth') == 2
    assert 'No space left on device' in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ['in.png']


@pytest.mark.parametrize('library, name, file', [
    ('onnxruntime', 'ONNX', 'net.onnx'), ('onnxscript', 'ONNX', 'net.onnx'),
    ('safetensors.torch', 'safetensors', 'net.safetensors'),
])
def test_a_missing_library_is_named(call, monkeypatch, capsys, library, name, file):
    for known in ('onnx', 'onnxscript', 'onnxruntime', 'safetensors.torch'):
        monkeypatch.setitem(sys.modules, known, None if known == library else sys)
    assert call('-o', file) == 2
    expected = f"error: export to {name} needs the extra 'export': pip install 'maxl_sr[export]'"
    assert capsys.readouterr().err.strip() == expected


@pytest.mark.parametrize('arguments, message', [
    (('-o', 'net.pt'), '-o net.pt: the ending must be one of .onnx, .safetensors, .pth'),
    (('-o', 'net'), '-o net: the ending must be one of'),
    (('-o', 'lost/net.pth'), '-o lost/net.pth: there is no folder lost'),
    (('-o', 'dir.pth'), '-o dir.pth is a folder'),
    (('-o', 'net.pth', '--weights', 'old.pth'), '--weights is for an option file'),
    (('-o', 'net.pth', '--steps', '3'), '--steps, --lr and --no-guard are for an --image'),
    (('-o', 'net.pth', '--no-guard'), '--steps, --lr and --no-guard are for an --image'),
    (('-o', 'net.pth', '--image', 'in.png', '--steps', '-1'), 'steps must be an integer of at least 0, not -1'),
    (('-o', 'net.pth', '--image', 'in.png', '--lr', '0'), 'lr must be greater than 0, not 0.0'),
    (('-o', 'net.pth', '--image', 'lost.png'), 'there is no file lost.png'),
    (('-o', 'net.pth', '--image', 'old.pth'), 'cannot read the image old.pth'),
    (('-o', 'net.pth', '--image', 'in.png', '--preset', 'sr_x2'), '--image: sr_x2 has no objective to adapt on'),
    (('-o', 'net.pth', '--image', 'in.png', '--no-guard', '--lr', '1e30'), 'the adaptation diverged'),
    (('-o', 'net.pth', '-opt', 'lost.yml'), 'there is no file lost.yml'),
    (('-o', 'old.pth', '-opt', 'denoise/test_fast.yml', '--weights', 'old.pth'), 'old.pth would be written over'),
    (('-o', 'net.pth', '-opt', 'denoise/test_fast.yml', '--weights', 'old.pth'), 'old.pth'),
])
def test_mistakes_write_nothing(call, folder, capsys, arguments, message):
    (folder / 'dir.pth').mkdir()
    (folder / 'old.pth').write_text('no weights')
    assert call(*arguments) == 2
    told = capsys.readouterr()
    assert told.err.startswith('error: ') and message in told.err and told.err.count('\n') == 1 and not told.out
    assert sorted(path.name for path in folder.iterdir()) == ['dir.pth', 'in.png', 'old.pth']


@pytest.mark.parametrize('arguments', [(), ('-o', 'a.pth', '--preset', 'slow'),
                                       ('-o', 'a.pth', '--preset', 'best', '-opt', 'a.yml')])
def test_a_wrong_call_is_told_by_the_parser(call, arguments):
    with pytest.raises(SystemExit) as caught:
        call(*arguments)
    assert caught.value.code == 2


@pytest.mark.slow
def test_the_optional_libraries_are_imported_when_they_are_needed():
    optional = "{'onnx', 'onnxscript', 'onnxruntime', 'safetensors', 'spandrel'}"
    code = f'import sys; from maxl_sr.export import to_onnx, to_pth; sys.exit(bool({optional} & set(sys.modules)))'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0

"""MIRNet: names, shapes and count of the published network, and its parts by hand."""

import hashlib
import json
from typing import Any

import pytest
import torch
from torch import nn

from maxl_sr.archs.mirnet_arch import SKFF, BlurDown, MIRNet, _pad_end
from tests.helpers import DATA

SMALL: dict[str, Any] = {'num_feat': 16, 'num_rrg': 1, 'num_msrb': 1}
CONFIGS = [
    SMALL,
    {**SMALL, 'height': 2},
    {**SMALL, 'width': 3, 'bias': True},
    {**SMALL, 'num_rrg': 2, 'num_msrb': 2, 'num_feat': 8, 'kernel_size': 5},
    {**SMALL, 'num_in_ch': 1, 'num_out_ch': 1, 'num_feat': 8, 'stride': 3},
    {**SMALL, 'num_feat': 8, 'height': 4},
]


@pytest.fixture(scope='module')
def full() -> MIRNet:
    return MIRNet()


def small(seed: int = 0, **kwargs: Any) -> MIRNet:
    torch.manual_seed(seed)
    return MIRNet(**{**SMALL, **kwargs}).eval()


def tied_name(key: str) -> str:
    """The name that stands for all names of one tensor: column 0, and one slope for all dual attention units."""
    if '.blocks.' not in key:
        return key
    head, tail = key.split('.blocks.')
    stream, _, rest = tail.split('.', 2)
    return 'slope' if rest == 'body.1.weight' else f'{head}.blocks.{stream}.0.{rest}'


@pytest.mark.slow
def test_official_checkpoint_loads(full: MIRNet) -> None:
    path = DATA.parent / 'reference' / 'mirnet_state_dict.json'
    if not path.is_file():
        pytest.skip(f'the list of the official keys is not at {path}')
    expected = json.loads(path.read_text())
    assert len(expected) == 797
    assert [(k, list(v.shape)) for k, v in full.state_dict().items()] == [(k, list(v)) for k, v in expected.items()]
    tensors: dict[str, torch.Tensor] = {}
    state = {key: tensors.setdefault(tied_name(key), torch.randn(shape)) for key, shape in expected.items()}
    net = MIRNet()
    net.load_state_dict({key: value.clone() for key, value in state.items()}, strict=True)
    loaded = net.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())


def test_keys_and_shapes_are_those_of_the_official_checkpoint(full: MIRNet) -> None:
    shapes = sorted((key, list(value.shape)) for key, value in full.state_dict().items())
    digest = hashlib.sha256(json.dumps(shapes).encode()).hexdigest()
    assert digest == '3236ab386b83e5dd9b7bf64ed33e9da45cc1f9ee5decd7e3f913a59c7ef1908f'  # of the official list


def test_parameter_count(full: MIRNet) -> None:
    assert sum(p.numel() for p in full.parameters()) == 31_787_419


def test_is_registered() -> None:
    from basicsr.utils.registry import ARCH_REGISTRY
    assert ARCH_REGISTRY.get('MIRNet') is MIRNet


def test_shared_weights_stay_equal() -> None:
    net = small(num_feat=64, width=3, num_msrb=2)  # so many features that no channel attention starts dead
    named = dict(net.named_parameters(remove_duplicate=False))
    first = {name: named[name] for name in named if '.blocks.' in name}
    slopes = {id(p) for name, p in first.items() if name.endswith('.body.1.weight')}
    assert len(slopes) == 1
    assert len({id(p) for p in first.values()}) == 2 * 3 * 6 + 1  # MSRBs, streams, tensors of a unit; the slope
    before = {key: value.clone() for key, value in net.state_dict().items()}
    net(torch.rand(1, 3, 16, 16)).square().mean().backward()
    torch.optim.Adam(net.parameters(), lr=1e-3).step()
    after = net.state_dict()
    for name in first:
        column0 = name if name.endswith('body.1.weight') else tied_name(name)
        assert torch.equal(after[name], after[column0])
        assert not torch.equal(after[name], before[name])


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (5, 3), (17, 31), (64, 64)])
def test_any_size(size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size)
    with torch.no_grad():
        out = small()(x)
    assert out.shape == x.shape
    assert out.isfinite().all()


@pytest.mark.parametrize('kwargs', CONFIGS)
def test_round_trip(kwargs: dict[str, Any]) -> None:
    net, other = small(0, **kwargs), small(1, **kwargs)
    x = torch.rand(1, kwargs.get('num_in_ch', 3), 19, 10)
    with torch.no_grad():
        expected = net(x)
        assert expected.shape == x.shape
        assert not torch.equal(other(x), expected)
        other.load_state_dict(net.state_dict(), strict=True)
        assert torch.equal(other(x), expected)


def test_suitable_size_is_not_padded() -> None:
    net = small()
    x = torch.rand(1, 3, 16, 20)
    assert _pad_end(_pad_end(x, 2, net.multiple), 3, net.multiple) is x
    with torch.no_grad():
        assert torch.equal(net(x), x + net.conv_out(net.body(net.conv_in(x))))


def test_padding_by_hand() -> None:
    row = torch.arange(5.).reshape(1, 1, 1, 5)
    assert _pad_end(row, 3, 4).flatten().tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert _pad_end(row[..., :2], 3, 4).flatten().tolist() == [0, 1, 1, 1]  # too short to reflect
    assert _pad_end(row.transpose(2, 3), 2, 4).flatten().tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    net = small()
    x = torch.rand(1, 3, 7, 9)
    with torch.no_grad():
        assert torch.equal(net(x), net(_pad_end(_pad_end(x, 2, 4), 3, 4))[..., :7, :9])


def test_zero_residual_returns_the_input() -> None:
    net = small()
    nn.init.zeros_(net.conv_out.weight)
    x = torch.rand(1, 3, 6, 5)
    assert torch.equal(net(x), x)


def test_bad_arguments() -> None:
    with pytest.raises(TypeError):
        MIRNet(n_feat=64)  # type: ignore[call-arg]


@pytest.mark.parametrize(('kwargs', 'message'), [
    ({'num_in_ch': 0}, 'num_in_ch'), ({'num_out_ch': 1}, 'num_out_ch'), ({'num_feat': 7}, 'num_feat'),
    ({'num_feat': 16.0}, 'num_feat'), ({'kernel_size': 4}, 'kernel_size'), ({'kernel_size': -1}, 'kernel_size'),
    ({'stride': 1}, 'stride'), ({'num_rrg': 0}, 'num_rrg'), ({'num_msrb': True}, 'num_msrb'),
    ({'height': 1}, 'height'), ({'width': 1}, 'width'), ({'bias': 'no'}, 'bias'),
])
def test_bad_values(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MIRNet(**{**SMALL, **kwargs})


def test_skff_by_hand() -> None:
    torch.manual_seed(0)
    skff = SKFF(16, 3)
    feats = [torch.randn(2, 16, 4, 5) for _ in range(3)]
    weights = skff.weights(feats)
    assert weights.shape == (3, 2, 16, 1, 1)
    torch.testing.assert_close(weights.sum(0), torch.ones(2, 16, 1, 1))
    torch.testing.assert_close(skff([feats[0]] * 3), feats[0])

    state = {name: p[..., 0, 0] for name, p in skff.named_parameters() if p.ndim == 4}
    squeeze, excite = state['conv_du.0.weight'], [state[f'fcs.{i}.weight'] for i in range(3)]
    assert squeeze.shape == (4, 16)  # 16 / 8 is below the least width of 4
    hidden = (feats[0] + feats[1] + feats[2]).mean((2, 3)) @ squeeze.T
    hidden = torch.where(hidden > 0, hidden, 0.25 * hidden)
    a, b, c = ((hidden @ matrix.T).exp()[..., None, None] for matrix in excite)
    expected = (a * feats[0] + b * feats[1] + c * feats[2]) / (a + b + c)
    torch.testing.assert_close(skff(feats), expected)


def test_blur_by_hand() -> None:
    blur = BlurDown(2, 2)
    kernel = torch.tensor([[1., 2., 1.], [2., 4., 2.], [1., 2., 1.]]) / 16
    assert torch.equal(blur.filt, kernel.expand(2, 1, 3, 3))
    assert not list(blur.parameters())
    x = torch.arange(32.).reshape(1, 2, 4, 4)
    out = blur(x)
    assert out.shape == (1, 2, 2, 2)
    assert out[0, 1, 1, 1] == (x[0, 1, 1:4, 1:4] * kernel).sum()
    assert out[0, 0, 0, 0] == (x[0, 0][[1, 0, 1]][:, [1, 0, 1]] * kernel).sum()  # mirrored at the corner
    assert torch.equal(blur(torch.ones(1, 2, 2, 2)), torch.ones(1, 2, 1, 1))


def test_gradients_reach_all_parameters() -> None:
    net = small(num_feat=64, num_msrb=2, bias=True)
    net(torch.rand(1, 3, 13, 18)).square().mean().backward()
    without = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []

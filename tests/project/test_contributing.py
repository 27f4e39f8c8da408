"""What CONTRIBUTING.md shows works to the letter."""

import re
import sys

import pytest
from basicsr.losses import build_loss
from basicsr.utils.registry import LOSS_REGISTRY

import maxl_sr.losses
from maxl_sr.utils.scan import import_modules
from tests.helpers import ROOT
from tests.losses.references import references

TEXT = (ROOT / 'CONTRIBUTING.md').read_text(encoding='utf-8')


@pytest.fixture
def added(tmp_path, monkeypatch):
    """The code of the page's test, with the page's file where it says that it belongs, as far as a scan can tell."""
    code, test = re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL)
    name, = re.findall(r'`maxl_sr/losses/(\w+)\.py`:\n\n```python', TEXT)
    (tmp_path / f'{name}.py').write_text(code, encoding='utf-8')
    monkeypatch.setattr(maxl_sr.losses, '__path__', [*maxl_sr.losses.__path__, str(tmp_path)])
    monkeypatch.setattr(LOSS_REGISTRY, '_obj_map', dict(LOSS_REGISTRY._obj_map))
    import_modules('maxl_sr.losses', '_loss')
    yield test
    del sys.modules[f'maxl_sr.losses.{name}']
    delattr(maxl_sr.losses, name)


def test_the_objective_of_the_page(added):
    space = {}
    exec(added, space)
    functions = [function for name, function in space.items() if name.startswith('test_')]
    assert functions and [kind.__name__ for kind in references(space)] == ['NoisierLoss']
    for function in functions:
        function()
    option, = re.findall(r'`aux_opt: \{type: (\w+), sigma: 15\}`', TEXT)
    assert build_loss({'type': option, 'sigma': 15}).sigma == 15
    with pytest.raises(ValueError, match='sigma must be greater than 0'):
        build_loss({'type': option, 'sigma': 0})

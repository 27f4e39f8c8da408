"""BasicSR on a machine without a GPU: what the compat layer patches, and what it leaves alone."""

import os
import subprocess
import sys
import types

import basicsr.models.base_model as base_model
import basicsr.train as basicsr_train
import basicsr.utils.dist_util as dist_util
import basicsr.utils.file_client as file_client
import basicsr.utils.options as basicsr_options
import pytest
import torch
import yaml

from maxl_sr import compat
from tests.helpers import free_port, python, train_options


def test_a_fixed_basicsr_is_left_alone(monkeypatch):
    def fixed_resume(opt):
        return None

    def fixed_init(backend):
        return None

    class FixedModel:
        def model_to_device(self, net):
            return net

    monkeypatch.setattr(basicsr_train, 'load_resume_state', fixed_resume)
    monkeypatch.setattr(dist_util, '_init_dist_pytorch', fixed_init)
    monkeypatch.setattr(base_model, 'BaseModel', FixedModel)
    method = FixedModel.model_to_device
    monkeypatch.setattr(file_client.LmdbBackend, '__init__', lambda self: None)
    backend = file_client.LmdbBackend.__init__
    compat._patch_resume()
    compat._patch_lmdb()
    compat._patch_init_dist()
    compat._patch_model_to_device()
    assert basicsr_train.load_resume_state is fixed_resume
    assert dist_util._init_dist_pytorch is fixed_init
    assert FixedModel.model_to_device is method
    assert file_client.LmdbBackend.__init__ is backend


def test_a_basicsr_that_leaves_its_process_group_is_left_alone(monkeypatch):
    original = basicsr_options.init_dist
    monkeypatch.setattr(compat.inspect, 'getsource', lambda module: 'torch.distributed.destroy_process_group()')
    compat._patch_leaving()
    assert basicsr_options.init_dist is original


@pytest.mark.slow
def test_a_process_leaves_its_process_group(tmp_path):
    (tmp_path / 'script.py').write_text('import atexit, torch\n'
                                        'atexit.register(lambda: print("in it:", torch.distributed.is_initialized()))\n'
                                        'import maxl_sr\nfrom basicsr.utils.options import init_dist\n'
                                        'init_dist("pytorch")\nassert torch.distributed.is_initialized()\n')
    env = {**os.environ, 'RANK': '0', 'WORLD_SIZE': '1', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(free_port())}
    done = python('script.py', cwd=tmp_path, env=env)
    assert done.returncode == 0 and 'in it: False' in done.stdout, done.stderr[-2000:]


def test_an_existing_functional_tensor_is_left_alone(monkeypatch):
    name = 'torchvision.transforms.functional_tensor'
    module = types.ModuleType(name)
    module.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, name, module)
    compat._shim_functional_tensor()
    assert sys.modules[name] is module


def test_the_shim_offers_what_basicsr_imports():
    from basicsr.data.degradations import rgb_to_grayscale
    assert rgb_to_grayscale(torch.rand(1, 3, 4, 4)).shape == (1, 1, 4, 4)


def test_torch_load_and_current_device_come_back_after_resuming(make_pairs, run):
    load, current_device = torch.load, torch.cuda.current_device
    opt = train_options('MAXLModel', make_pairs())
    assert run('train', opt) == 0
    opt['train']['total_iter'] = 8
    assert run('train', opt, '--auto_resume') == 0
    assert torch.load is load and torch.cuda.current_device is current_device


@pytest.mark.slow
def test_a_plain_script_works_as_well(make_pairs, tmp_path):
    (tmp_path / 'opt.yml').write_text(yaml.safe_dump(train_options('MAXLModel', make_pairs())))
    (tmp_path / 'train.py').write_text('import os\nimport maxl_sr\nfrom basicsr.train import train_pipeline\n'
                                       'train_pipeline(os.getcwd())\n')
    subprocess.run([sys.executable, 'train.py', '-opt', 'opt.yml'], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / 'experiments/tiny/models/net_m_latest.pth').exists()


def test_the_file_itself_is_a_command(make_pairs, tmp_path):
    import maxl_sr.train
    done = python(maxl_sr.train.__file__, '-opt', 'absent.yml', cwd=tmp_path)
    assert done.returncode == 2 and 'there is no file absent.yml' in done.stderr

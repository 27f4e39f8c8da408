"""While it runs: names of any bytes, failing images, threads and disks, interruption, two processes, plain scripts."""

import csv
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import basicsr.models.sr_model as sr_model
import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY

from maxl_sr import pipeline
from maxl_sr.archs.multitask_arch import MultiTaskNet
from maxl_sr.errors import UserError
from maxl_sr.startup import wait_briefly
from maxl_sr.utils.lock import locked
from tests.helpers import GONE, edited, meta_test_options, slow
from tests.processes import interrupted

ODD = 'caf\udce9'  # caf and a byte that is no UTF-8


@pytest.fixture
def tested(run, pairs, options, tmp_path):
    """Options of a test of freshly trained networks; what the training wrote is out of the way."""
    assert run('train', edited(options, train__total_iter=2)) == 0
    return meta_test_options(pairs, (tmp_path / 'experiments').rename(tmp_path / 'trained') / 'tiny/models')


def rename_oddly(pairs):
    for kind in ('gt', 'lq'):
        for number, name in ((0, ODD), (1, '写真'), (2, 'a b\'"\n;$(x)')):
            os.rename(pairs / kind / f'0{number}.png', f'{pairs}/{kind}/{name}.png')


@pytest.mark.parametrize('model, kind', [('MetaTransferModel', 'MixedPairedDataset'), ('SRModel', 'PairedImageDataset'),
                                         ('SRModel', 'SingleImageDataset'),
                                         ('MetaTransferModel', 'SyntheticNoiseDataset')])
def test_names_of_any_bytes_in_a_test(run, tested, pairs, tmp_path, model, kind, capfd):
    rename_oddly(pairs)
    edited(tested, model_type=model, val__save_img=True, datasets__test_1__type=kind)
    if model == 'SRModel':
        edited(tested, val__adapt=GONE, network_m=GONE, path__pretrain_network_m=GONE)
    if kind == 'SingleImageDataset':
        edited(tested, val__metrics=GONE, datasets__test_1__dataroot_gt=GONE)
    if kind == 'SyntheticNoiseDataset':
        edited(tested, datasets__test_1__dataroot_lq=GONE)
    assert run('test', tested) == 0
    names = os.listdir(tmp_path / 'results/tiny_test/visualization/tiny')
    suffix = '_after.png' if model == 'MetaTransferModel' else '_tiny_test.png'
    assert f'{ODD}{suffix}' in names and f'写真{suffix}' in names
    assert 'Traceback' not in capfd.readouterr().err
    if model == 'MetaTransferModel':
        with open(tmp_path / 'results/tiny_test/tiny.csv', newline='', encoding='utf-8') as file:
            assert {row['image'] for row in csv.DictReader(file)} == {'caf\\udce9', '写真', 'a b\'"\n;$(x)', '03'}


def test_names_of_any_bytes_in_a_training(run, options, pairs, tmp_path, capfd):
    rename_oddly(pairs)
    odd = Path(shutil.move(pairs, f'{tmp_path}/{ODD}'))
    edited(options, val__val_freq=2, val__save_img=True, val__metrics__psnr__crop_border=1)
    roots = [f'datasets:{name}={odd}/{kind}' for name, kind in (('train:dataroot_gt', 'gt'), ('val:dataroot_gt', 'gt'),
                                                                ('val:dataroot_lq', 'lq'))]
    assert run('train', options, '--force_yml', *roots) == 0
    assert f'{ODD}_2_after.png' in os.listdir(f'{tmp_path}/experiments/tiny/visualization/{ODD}')
    assert 'Traceback' not in capfd.readouterr().err


def test_names_for_opencv_are_refused(refused, options, pairs):
    for kind in ('gt', 'lq'):
        (pairs / kind / 'clip').mkdir()
        os.rename(pairs / kind / '00.png', f'{pairs}/{kind}/clip/{ODD}.png')
    refused('train', edited(options, datasets__val__type='VideoTestDataset', datasets__val__cache_data=True,
                            datasets__val__num_frame=1, datasets__val__padding='reflection',
                            datasets__val__center_crop=GONE), 'datasets: val', 'VideoTestDataset', 'is not UTF-8')


def test_pictures_are_whole_or_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'replace', lambda *args: (_ for _ in ()).throw(OSError(28, 'No space left on device')))
    with pytest.raises(UserError, match='cannot write .*x.png: No space left'):
        sr_model.imwrite(np.zeros((4, 4, 3), np.uint8), f'{tmp_path}/new/x.png')
    assert not os.listdir(tmp_path / 'new')


@pytest.mark.parametrize('workers', [0, 1])
def test_failure_in_a_thread_is_heard(refused, options, pairs, monkeypatch, workers):
    edited(options, datasets__train__prefetch_mode='cpu', datasets__train__num_worker_per_gpu=workers)
    monkeypatch.setattr(pipeline, 'preflight', lambda opt: (pairs / 'gt/03.png').write_text('no picture'))
    refused('train', options, 'cannot read the image', 'gt/03.png', written=True)


@pytest.mark.parametrize('value', ['x', [1], {}])
def test_a_queue_that_cannot_be_made_ends(refused, options, pairs, monkeypatch, value):
    monkeypatch.setattr(pipeline, 'preflight', lambda opt: None)  # past the check
    edited(options, datasets__train__prefetch_mode='cpu', datasets__train__num_prefetch_queue=value)
    with pytest.raises(TypeError):
        refused('train', options)


def test_image_of_basicsr_s_own_data_set_is_named(refused, options, pairs, monkeypatch):
    edited(options, datasets__train__type='PairedImageDataset', datasets__train__dataroot_lq=f'{pairs}/lq')
    monkeypatch.setattr(pipeline, 'preflight', lambda opt: (pairs / 'lq/03.png').write_text('no picture'))
    refused('train', options, 'datasets: train: cannot make an item of', 'lq/03.png', written=True)


def test_a_killed_worker_is_told(refused, options, monkeypatch):
    def kill(*args):
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr('maxl_sr.data.synthetic_noise_dataset.add_noise', kill)
    monkeypatch.setattr(pipeline, 'preflight', lambda opt: None)
    refused('train', edited(options, datasets__train__num_worker_per_gpu=1), 'a process that reads images was killed',
            written=True)


def test_too_few_open_files(refused, options):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    edited(options, datasets__train__num_worker_per_gpu=4)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')) + 6, limits[1]))
    try:
        refused('train', options, 'oo many open files', written=True)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


if 'EvenNet' not in ARCH_REGISTRY:

    @ARCH_REGISTRY.register()
    class EvenNet(MultiTaskNet):
        """Fails on sides that are no multiple of 8."""

        def forward_features(self, x):
            if x.shape[-1] % 8 or x.shape[-2] % 8:
                raise RuntimeError('Sizes of tensors must match except in dimension 1. Expected size 6 but got size 5')
            return super().forward_features(x)

        def forward(self, x):
            return self.forward_heads(self.forward_features(x), x)[0]


@pytest.mark.parametrize('model', ['MetaTransferModel', 'SRModel'])
def test_an_image_that_the_network_cannot_take_is_named(refused, tested, pairs, tmp_path, model):
    for kind in ('gt', 'lq'):
        cv2.imwrite(str(pairs / kind / '02.png'), cv2.imread(str(pairs / kind / '02.png'))[:30, :38])
    edited(tested, network_g__type='EvenNet', model_type=model)
    if model == 'SRModel':
        edited(tested, val__adapt=GONE, network_m=GONE, path__pretrain_network_m=GONE)
    refused('test', tested, 'cannot restore', 'lq/02.png', 'Sizes of tensors must match', written=True)
    log = next((tmp_path / 'results/tiny_test').glob('*.log')).read_text()
    assert 'Traceback' in log and 'forward_features' in log  # for whoever has written the network


def test_want_of_memory_is_told_with_the_image(refused, tested, monkeypatch):
    def fail(self):
        raise RuntimeError('could not create a primitive')

    monkeypatch.setattr('maxl_sr.models.adaptive_model.AdaptiveModel.test', fail)
    refused('test', tested, 'cannot restore', '00.png', 'there is not enough memory', written=True)


def test_a_diverged_adaptation_writes_nothing(refused, tested, tmp_path):
    edited(tested, val__adapt__lr=1e30, val__adapt__steps=5, val__save_img=True)
    refused('test', tested, '00.png', 'the restored image is not finite: the adaptation diverged', 'lr than 1e+30',
            written=True)
    assert not [path for path in (tmp_path / 'results').rglob('*') if path.suffix in ('.png', '.csv')]


def test_a_diverged_adaptation_in_a_training_is_no_best(run, options, capfd):
    edited(options, val__adapt__lr=1e30, val__adapt__steps=5, val__val_freq=3)
    assert run('train', options) == 0
    told = capfd.readouterr().err
    assert 'the adaptation diverged' in told and '# psnr: nan	Best: -inf @ -1 iter' in told
    assert '# psnr_before: nan' in told and 'psnr: 5.' not in told


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_a_figure_that_is_not_finite_is_no_best(value):
    model = sr_model.SRModel.__new__(sr_model.SRModel)
    for better in ('higher', 'lower'):
        model.best_metric_results = {'set': {'psnr': {'better': better, 'val': 30.0, 'iter': 1}}}
        model._update_best_metric_result('set', 'psnr', value, 2)
        assert model.best_metric_results['set']['psnr'] == {'better': better, 'val': 30.0, 'iter': 1}


def test_folder_removed_while_it_trains(refused, options, monkeypatch, tmp_path):
    from maxl_sr.models.maxl_model import MAXLModel
    step = MAXLModel.optimize_parameters

    def remove(self, current_iter):
        if current_iter == 3:
            shutil.rmtree(tmp_path / 'experiments')
        step(self, current_iter)

    monkeypatch.setattr(MAXLModel, 'optimize_parameters', remove)
    refused('train', options, 'cannot write a checkpoint to', 'experiments/tiny/models', 'No such file', written=True)


@pytest.mark.parametrize('command', ['train', 'test'])
def test_folder_that_cannot_be_made(refused, options, tested, tmp_path, command):
    (tmp_path / ('experiments' if command == 'train' else 'results')).write_text('a file')
    refused(command, options if command == 'train' else tested, 'experiments' if command == 'train' else 'results',
            written=True)


def test_one_process_an_experiment(refused, run, options, tmp_path):
    code = ('import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import lock\n'
            'with lock.locked(Path(sys.argv[2])): print("held", flush=True); time.sleep(60)')
    source = Path(sys.modules['maxl_sr.utils.lock'].__file__).read_text().replace(
        'from maxl_sr.errors import UserError', 'class UserError(Exception): pass')
    (tmp_path / 'module').mkdir()
    (tmp_path / 'module/lock.py').write_text(source)
    other = subprocess.Popen([sys.executable, '-c', code, str(tmp_path / 'module'), str(tmp_path / 'experiments/tiny')],
                             stdout=subprocess.PIPE)
    assert other.stdout.readline() == b'held\n'
    refused('train', options, 'experiments/tiny is being written by another process', written=True)
    assert not (tmp_path / 'experiments/tiny').exists()
    other.kill()  # the lock ends with the process
    other.wait()
    assert run('train', options) == 0
    with locked(tmp_path / 'experiments/tiny'):
        pass


@pytest.mark.parametrize('command', ['train', 'test'])
@pytest.mark.parametrize('seconds', [0, 0.5, *slow(1)])
def test_interrupted_while_it_starts(command, seconds, tmp_path):
    told = interrupted(f'maxl_sr.{command}', '-opt', 'cpu/test_real.yml', seconds=seconds, cwd=tmp_path)
    assert told == (130, 'interrupted')


@pytest.mark.slow
def test_interrupted_while_it_trains(run, options, tmp_path):
    edited(options, train__total_iter=100000, logger__save_checkpoint_freq=5, datasets__train__num_worker_per_gpu=1)
    (tmp_path / 'x.yml').write_text(yaml.safe_dump(options))
    process = subprocess.Popen([sys.executable, '-m', 'maxl_sr.train', '-opt', 'x.yml'], cwd=tmp_path, text=True,
                               stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
                               env={**os.environ, 'OMP_DISPLAY_ENV': 'verbose'})
    for line in process.stderr:
        if 'GOMP_SPINCOUNT' in line:  # what torch's runtime has read when it was loaded
            assert "'1000'" in line
        if 'iter:       8' in line:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does
            break
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and 'Traceback' not in told
    assert told.strip().splitlines()[-1].startswith('interrupted; the last good checkpoint is ')
    assert '.state; the same command with --auto_resume goes on from there' in told
    assert not [path for path in (tmp_path / 'experiments').rglob('.*')]
    assert run('train', edited(options, train__total_iter=10), '--auto_resume') == 0


def test_threads_wait_briefly(monkeypatch):
    for name in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY'):  # chosen by the user
        monkeypatch.delenv('GOMP_SPINCOUNT', raising=False)
        monkeypatch.delenv('OMP_WAIT_POLICY', raising=False)
        monkeypatch.setenv(name, '7')
        wait_briefly()
        assert os.environ.get('GOMP_SPINCOUNT') == ('7' if name == 'GOMP_SPINCOUNT' else None)


def test_a_launcher_that_is_not_there(refused, options):
    refused('train', options, '--launcher pytorch', 'torchrun', flags=['--launcher', 'pytorch'])
    refused('train', options, '--launcher pytorch', 'torchrun', flags=['--launcher=pytorch'])
    refused('train', options, '--launcher slurm', 'srun', flags=['--launcher', 'slurm'])

"""Pairs of super-resolution and of GoPro."""

import shutil

import numpy as np
import pytest
from scipy.io import savemat

from tests.prepare.layouts import fails, gopro, names, read, run, save, texture


@pytest.mark.parametrize('lmdb', [False, True])
def test_super_resolution_pairs_stay_whole(lmdb, tmp_path):
    for number, (height, width) in enumerate([(24, 32), (25, 33)]):
        image = texture(height, width, number)
        save(tmp_path / f'Set/img_{number}_SRF_2_HR.png', image)
        save(tmp_path / f'Set/img_{number}_SRF_2_LR.png', image[::2, ::2][:height // 2, :width // 2])
    out = tmp_path / 'out'
    summary = run('sr', tmp_path / 'Set', '-o', out, *(['--lmdb'] if lmdb else []))
    assert summary.startswith('2 images: 2 tiles written')
    if lmdb:
        assert 'img_1_SRF_2.png (24,32,3)' in (out / 'gt.lmdb/meta_info.txt').read_text()
        assert 'img_1_SRF_2.png (12,16,3)' in (out / 'lq.lmdb/meta_info.txt').read_text()
    else:
        assert names(out / 'lq') == names(out / 'gt') == ['img_0_SRF_2.png', 'img_1_SRF_2.png']
        assert read(out / 'lq/img_1_SRF_2.png').shape == (12, 16, 3)
        assert np.array_equal(read(out / 'gt/img_1_SRF_2.png'), texture(25, 33, 1)[:24, :32])


def test_super_resolution_pairs_of_several_scales_are_refused(tmp_path, capsys):
    for name, scale in (('a', 2), ('b', 4)):
        save(tmp_path / f'Set/{name}_HR.png', texture(24, 32))
        save(tmp_path / f'Set/{name}_LR.png', texture(24 // scale, 32 // scale))
    assert 'holds pairs of scale 2 (a_LR.png) and of scale 4 (b_LR.png)' in fails(capsys, 'sr', tmp_path / 'Set', '-o',
                                                                               tmp_path / 'out')
    for name in 'ab':
        save(tmp_path / f'Set/{name}_LR.png', texture(24, 32))
    assert 'b_LR.png is not smaller than its clean partner.' in fails(capsys, 'sr', tmp_path / 'Set', '-o',
                                                                      tmp_path / 'out')


def test_super_resolution_pair_of_no_whole_scale_is_refused(tmp_path, capsys):
    save(tmp_path / 'Set/a_HR.png', texture(24, 32))
    save(tmp_path / 'Set/a_LR.png', texture(12, 15))
    assert 'a_LR.png is 15x12, but its clean partner a_HR.png is 32x24.' in fails(capsys, 'sr', tmp_path / 'Set', '-o',
                                                                                tmp_path / 'out')


@pytest.mark.parametrize('official', [True, False])
def test_gopro_is_split_by_sequence(official, tmp_path, capsys):
    gopro(tmp_path / 'GoPro', official)
    assert run('gopro', tmp_path / 'GoPro', '-o', tmp_path / 'all').startswith('4 images: 4 tiles')
    run('gopro', tmp_path / 'GoPro', '-o', tmp_path / 'train', '--exclude-scenes', 'GOPR0477_11_00')
    train = names(tmp_path / 'train/lq')
    assert len(train) == 2 and all(name.startswith('GOPR0374') for name in train)
    assert 'has no scene \'GOPR1\'; it has GOPR0374_11_00, GOPR0477_11_00.' in fails(
        capsys, 'gopro', tmp_path / 'GoPro', '-o', tmp_path / 'other', '--scenes', 'GOPR1')


def test_gopro_train_and_test_are_not_mixed(tmp_path, capsys):
    gopro(tmp_path / 'GoPro', True)
    shutil.copytree(tmp_path / 'GoPro/train', tmp_path / 'GoPro/test')
    assert 'holds the sequences of test and train' in fails(capsys, 'gopro', tmp_path / 'GoPro', '-o', tmp_path / 'out')


def test_gopro_frame_without_partner_is_refused(tmp_path, capsys):
    gopro(tmp_path / 'GoPro', True)
    (tmp_path / 'GoPro/train/GOPR0374_11_00/sharp/000001.png').unlink()
    assert '000001.png has no clean partner in' in fails(capsys, 'gopro', tmp_path / 'GoPro', '-o', tmp_path / 'out')


def _scene(path, image, kind='uint8', **other):
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {'img_noisy': image[..., ::-1].astype(kind), 'img_mean': image[::-1, :, ::-1].astype(kind), **other})


@pytest.mark.parametrize('kind', ['uint8', 'float64'])
def test_nam_full_scenes_are_read_from_mat_files(kind, tmp_path):
    image = texture(24, 32)
    _scene(tmp_path / 'Nam/Nikon_D600/ISO_3200/C_1.mat', image, kind, img_cov=np.zeros(3))
    _scene(tmp_path / 'Nam/Nikon_D800/ISO_6400/B_3.mat', texture(16, 16, 1), kind)
    assert run('nam', tmp_path / 'Nam', '-o', tmp_path / 'out').startswith('2 images: 2 tiles written')
    assert names(tmp_path / 'out/gt') == ['Nikon_D600_ISO_3200_C_1.png', 'Nikon_D800_ISO_6400_B_3.png']
    assert np.array_equal(read(tmp_path / 'out/lq/Nikon_D600_ISO_3200_C_1.png'), image)
    assert np.array_equal(read(tmp_path / 'out/gt/Nikon_D600_ISO_3200_C_1.png'), image[::-1])
    assert '2 images: 0 tiles written' in run('nam', tmp_path / 'Nam', '-o', tmp_path / 'out')


def test_nam_scenes_that_are_none_are_refused(tmp_path, capsys):
    root, out = tmp_path / 'Nam', tmp_path / 'out'
    path = root / 'C_1.mat'
    _scene(path, texture(24, 32))
    path.write_bytes(b'junk' * 100)
    assert 'C_1.mat cannot be read as a MAT file' in fails(capsys, 'nam', root, '-o', out)
    savemat(path, {'img_noisy': texture(24, 32)})
    assert 'C_1.mat holds no colour image called img_mean.' in fails(capsys, 'nam', root, '-o', out)
    savemat(path, {'img_noisy': texture(24, 32) / 255, 'img_mean': texture(24, 32) / 255})
    assert 'C_1.mat: img_mean must have values from 0 to 255.' in fails(capsys, 'nam', root, '-o', out)
    save(root / 'd600_real.png', texture(24, 32))
    assert 'holds MAT files and images' in fails(capsys, 'nam', root, '-o', out)
    assert not list(out.glob('*/*.png'))

"""Pairs of super-resolution and of GoPro."""

import shutil

import numpy as np
import pytest

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

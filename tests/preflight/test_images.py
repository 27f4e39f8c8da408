"""Folders of images and LMDBs that cannot be trained on are refused before anything is written."""

import cv2
import numpy as np
import pytest
from basicsr.data import build_dataset
from PIL import Image

from tests.helpers import edited, lmdb_of, train_options, with_lmdb


@pytest.mark.parametrize('key', ['gt', 'lq'])
def test_data_root_missing(refused, pairs, key):
    opt = edited(train_options('MetaTransferModel', pairs), **{f'datasets__train__dataroot_{key}': 'nowhere'})
    refused('train', opt, f'datasets: train: dataroot_{key}: there is no folder nowhere')


@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
def test_empty_folder(refused, tmp_path, pairs, model):
    opt = train_options(model, pairs)
    (tmp_path / 'empty').mkdir()
    for key in ('dataroot_gt', 'dataroot_lq'):
        if key in opt['datasets']['train']:
            opt['datasets']['train'][key] = 'empty'
    refused('train', opt, 'datasets: train', 'no images in empty')


def test_more_inputs_than_ground_truths(refused, pairs):
    (pairs / 'gt/03.png').unlink()
    refused('train', train_options('MetaTransferModel', pairs), 'datasets: train', '4, 3')


def test_pair_of_different_names(refused, pairs):
    (pairs / 'lq/03.png').rename(pairs / 'lq/04.png')
    refused('train', train_options('MetaTransferModel', pairs), 'datasets: train', '03.png')


def test_pair_of_different_sizes(refused, pairs):
    cv2.imwrite(str(pairs / 'lq/02.png'), np.zeros((32, 44, 3), np.uint8))
    refused('train', train_options('MetaTransferModel', pairs), '02.png', '40×32', '44×32')


def test_text_called_png(refused, pairs):
    (pairs / 'gt/01.png').write_text('no picture')
    refused('train', train_options('MAXLModel', pairs), 'gt/01.png')


@pytest.mark.parametrize('kind', ['PNG', 'WEBP', 'TIFF'])
def test_images_of_several_pages(refused, pairs, tmp_path, kind):
    image = Image.open(pairs / 'gt/01.png')
    image.load()
    image.save(pairs / 'gt/01.png', kind, save_all=True, append_images=[image.transpose(Image.Transpose.ROTATE_180)])
    refused('train', train_options('MAXLModel', pairs), 'gt/01.png: it has 2 pages')
    opt = with_lmdb(train_options('MAXLModel', pairs), lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb'))
    refused('train', opt, "cannot read the image '01' of the LMDB", 'several pages')


def test_empty_file(refused, pairs):
    (pairs / 'gt/01.png').write_bytes(b'')
    refused('train', train_options('MAXLModel', pairs), 'gt/01.png')


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_truncated_image(refused, pairs, suffix):
    (pairs / 'gt/01.png').unlink()
    path = pairs / f'gt/01{suffix}'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-3000])
    opt = train_options('MAXLModel', pairs)
    del opt['datasets']['val'], opt['val']
    refused('train', opt, f'gt/01{suffix}')


@pytest.mark.parametrize('width', [64, 66])
def test_a_png_with_a_wrong_byte_is_named(refused, pairs, width):
    path = pairs / 'gt/01.png'
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (64, width, 3), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    opt = train_options('MAXLModel', pairs)
    del opt['datasets']['val'], opt['val']
    refused('train', opt, 'cannot read the image', 'gt/01.png')


@pytest.mark.parametrize('kind, bgr', [('grey', [60, 60, 60]), ('16bit', [10, 20, 30]), ('alpha', [10, 20, 30])])
def test_other_images_become_8_bit_colour(run, pairs, kind, bgr):
    image = np.empty((32, 40, 3), np.uint8)
    image[:] = (10, 20, 30)
    image = {'grey': np.full((32, 40), 60, np.uint8), '16bit': image.astype(np.uint16) * 257,
             'alpha': np.dstack([image, np.full((32, 40), 128, np.uint8)])}[kind]  # yapf: disable
    cv2.imwrite(str(pairs / 'gt/00.png'), image)
    opt = train_options('MAXLModel', pairs)
    assert run('train', opt) == 0
    item = build_dataset({**opt['datasets']['val'], 'phase': 'val', 'scale': 1})[0]
    assert (item['gt'] * 255).round().int()[:, 5, 5].tolist() == bgr[::-1]


def test_training_from_an_lmdb(run, pairs, tmp_path):
    assert run('train', with_lmdb(train_options('MAXLModel', pairs), lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb'))) == 0


def test_lmdb_without_its_list(refused, pairs, tmp_path):
    path = lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb')
    (path / 'meta_info.txt').unlink()
    refused('train', with_lmdb(train_options('MAXLModel', pairs), path), 'gt.lmdb', 'no meta_info.txt')


def test_lmdb_folder_of_another_name(refused, pairs, tmp_path):
    path = lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb').rename(tmp_path / 'gt_db')
    refused('train', with_lmdb(train_options('MAXLModel', pairs), path), 'gt_db', '.lmdb')


@pytest.mark.parametrize('line', ['garbage', '00.png (32,forty,3) 1', '\n'])
def test_lmdb_with_a_garbled_list(refused, pairs, tmp_path, line):
    path = lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb')
    (path / 'meta_info.txt').write_text(line)
    refused('train', with_lmdb(train_options('MAXLModel', pairs), path), 'gt.lmdb/meta_info.txt')


def test_lmdb_whose_list_names_what_it_does_not_hold(refused, pairs, tmp_path):
    path = lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb')
    with open(path / 'meta_info.txt', 'a') as file:
        file.write('99.png (32,40,3) 1\n')
    refused('train', with_lmdb(train_options('MAXLModel', pairs), path), 'gt.lmdb', '99')


def test_lmdb_without_its_data(refused, pairs, tmp_path):
    path = lmdb_of(pairs / 'gt', tmp_path / 'gt.lmdb')
    (path / 'data.mdb').unlink()
    refused('train', with_lmdb(train_options('MAXLModel', pairs), path), 'gt.lmdb')

"""Whatever an LMDB can be, a training says so in one sentence before it begins, and never reads past the file."""

import os
import random
import resource
import shutil
import sys
from pathlib import Path

import cv2
import lmdb
import numpy as np
import psutil
import pytest
from basicsr.utils import FileClient

from maxl_sr.errors import UserError
from maxl_sr.preflight.lmdb_images import lmdb_sizes
from tests.helpers import edited, lmdb_of, python, train_options, with_lmdb


@pytest.fixture
def base(make_pairs, tmp_path):
    """An LMDB of four images of 40×32 pixels, about 7 kB each: several pages a value."""
    pairs = make_pairs()
    return lmdb_of(pairs / 'lq', tmp_path / 'gt.lmdb')


@pytest.fixture
def options(base):
    pairs = base.parent / 'pairs'
    opt = with_lmdb(train_options('MAXLModel', pairs), base)
    del opt['datasets']['val'], opt['val']
    return opt


PAGE = 4096
CUTS = [0, 1, 100, PAGE - 1, PAGE, PAGE + 16, PAGE + 200, 2 * PAGE - 1, 2 * PAGE, 2 * PAGE + 1, 3 * PAGE, 5 * PAGE]


@pytest.mark.parametrize('size', [*CUTS, -PAGE, -1])
def test_cut(refused, options, base, size):
    data = base / 'data.mdb'
    os.truncate(data, size if size >= 0 else data.stat().st_size + size)
    refused('train', options, 'the LMDB ', 'gt.lmdb')
    with pytest.raises(UserError, match='gt.lmdb'):  # nor does BasicSR's own reader go past the end
        FileClient('lmdb', db_paths=[str(base)], client_keys=['gt']).get('00', 'gt')


def scramble(data, seed):
    content = bytearray(data.read_bytes())
    rng = random.Random(seed)
    for _ in range(40):
        content[rng.randrange(len(content))] = rng.randrange(256)
    data.write_bytes(content)


BROKEN = {
    'text': lambda data: data.write_text('no database ' * 3000),
    'zeros': lambda data: data.write_bytes(bytes(data.stat().st_size)),
    'another program': lambda data: shutil.copy(sys.executable, data),
    'zeros after the header': lambda data: data.write_bytes(data.read_bytes()[:2 * PAGE] +
                                                            bytes(data.stat().st_size - 2 * PAGE)),
    'pages in another order': lambda data: data.write_bytes(data.read_bytes()[:2 * PAGE] + b''.join(
        reversed([data.read_bytes()[i:i + PAGE] for i in range(2 * PAGE, data.stat().st_size, PAGE)]))),
    'a hole': lambda data: data.write_bytes(data.read_bytes()[:3 * PAGE] + data.read_bytes()[4 * PAGE:] + bytes(PAGE)),
    'a folder': lambda data: (data.unlink(), data.mkdir()),
    'a named pipe': lambda data: (data.unlink(), os.mkfifo(data)),
    'a device': lambda data: (data.unlink(), data.symlink_to('/dev/zero')),
    'a link to nothing': lambda data: (data.unlink(), data.symlink_to('nowhere')),
}  # yapf: disable


@pytest.mark.parametrize('kind', BROKEN)
def test_broken_data(refused, options, base, kind):
    BROKEN[kind](base / 'data.mdb')
    refused('train', options, 'gt.lmdb')


@pytest.mark.parametrize('seed', range(8))
def test_scattered_damage_is_found_or_harmless(base, seed):
    scramble(base / 'data.mdb', seed)
    try:
        assert len(lmdb_sizes(str(base))) == 4
    except UserError as error:
        assert 'gt.lmdb' in str(error) and '\n' not in str(error)


def relist(base, change):
    path = base / 'meta_info.txt'
    path.write_text(change(path.read_text()))


LIES = {
    'a line more': (lambda text: text + '99.png (32,40,3) 1\n', "names '99', which the LMDB does not hold"),
    'a line less': (lambda text: text.replace('02.png (32,40,3) 1\n', ''), 'holds 4 images', 'lists 3'),
    'a line twice': (lambda text: text + '02.png (32,40,3) 1\n', "lists '02' twice"),
    'other names': (lambda text: text.replace('0', 'x').replace('32,4x', '32,40'), "names 'x"),
    'height and width swapped': (lambda text: text.replace('32,40', '40,32'), '40×32', '32×40'),
    'another size': (lambda text: text.replace('02.png (32,40', '02.png (64,80'), "'02' is 40×32", '80×64'),
    'nothing': (lambda text: '', 'lists no images'),
    'no sizes': (lambda text: text.replace(' (32,40,3) 1', ''), 'cannot read the line'),
    'no suffix': (lambda text: text.replace('.png', ''), 'cannot read the line'),
    'commas': (lambda text: text.replace(' ', ','), 'cannot read the line'),
    'negative sizes': (lambda text: text.replace('32,40', '-32,-40'), 'cannot read the line'),
    'a blank line': (lambda text: text + '\n', 'cannot read the line'),
    'letters beyond ASCII': (lambda text: text.replace('02.png', 'für.png'), 'must be ASCII'),
    'a path': (lambda text: text.replace('02.png', '../02.png'), 'meta_info.txt'),
}


@pytest.mark.parametrize('kind', LIES)
def test_lying_list(refused, options, base, kind):
    change, *told = LIES[kind]
    relist(base, change)
    refused('train', options, 'gt.lmdb', *told)


def test_list_that_is_no_text(refused, options, base):
    (base / 'meta_info.txt').write_bytes(b'\xff\xfe00.png')
    refused('train', options, 'cannot read', 'gt.lmdb/meta_info.txt')


@pytest.mark.parametrize('kind', ['pipe', 'folder'])
def test_list_that_is_no_file(refused, options, base, kind):
    path = base / 'meta_info.txt'
    path.unlink()
    os.mkfifo(path) if kind == 'pipe' else path.mkdir()
    refused('train', options, 'meta_info.txt is no file')


def put(base, key, value):
    with lmdb.open(str(base), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        transaction.put(key, value)


def test_value_that_is_no_image(refused, options, base):
    put(base, b'02', b'no image')
    refused('train', options, "cannot read the image '02' of the LMDB", 'gt.lmdb')


def test_image_that_is_cut(refused, options, base):
    image = cv2.imencode('.jpg', np.random.default_rng(0).integers(0, 256, (32, 40, 3), dtype=np.uint8))[1].tobytes()
    put(base, b'02', image[:len(image) // 2])
    refused('train', options, "cannot read the image '02' of the LMDB")


def test_data_of_another_lmdb(refused, options, base, make_pairs, tmp_path):
    other = lmdb_of(make_pairs('other', height=48, width=48) / 'gt', tmp_path / 'other.lmdb')
    shutil.copy(other / 'data.mdb', base / 'data.mdb')
    refused('train', options, '48×48', '40×32')


def test_pairs_of_other_names(refused, base, make_pairs, tmp_path):
    pairs = make_pairs('others')
    (pairs / 'gt/03.png').rename(pairs / 'gt/07.png')
    gt = lmdb_of(pairs / 'gt', tmp_path / 'others.lmdb')
    opt = edited(train_options('MetaTransferModel', pairs), datasets__train__io_backend={'type': 'lmdb'},
                 datasets__train__dataroot_lq=str(base), datasets__train__dataroot_gt=str(gt))
    refused('train', opt, "gt.lmdb holds '03', but", "others.lmdb does not")


def test_a_reader_reserves_no_more_than_the_file(base):
    """LmdbMaker reserves a terabyte; who reads it under a limit of address space must not."""
    put(base, b'00', (base.parent / 'pairs/lq/00.png').read_bytes())
    with lmdb.open(str(base), map_size=2**40):
        pass
    code = ('import resource, sys\n'
            'resource.setrlimit(resource.RLIMIT_AS, (3 * 2**29, 3 * 2**29))\n'
            'import lmdb\n'
            f'with lmdb.open({str(base)!r}, readonly=True, lock=False) as e, e.begin() as t: print(len(t.get(b"00")))')
    done = python('-c', code)
    assert done.returncode == 0 and int(done.stdout) > 1000, done.stderr


def test_no_room_for_the_map(base):
    with lmdb.open(str(base), map_size=2**27) as environment, environment.begin(write=True) as transaction:
        transaction.put(b'large', bytes(2**26))
    limits = resource.getrlimit(resource.RLIMIT_AS)
    taken = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (taken + 2**25, limits[1]))
    try:
        with pytest.raises(UserError, match='cannot open the LMDB .*Cannot allocate memory'):
            FileClient('lmdb', db_paths=[str(base)], client_keys=['gt'])
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def test_a_whole_lmdb_passes(run, options, base):
    assert run('train', options) == 0
    assert Path('experiments/tiny/models/net_g_latest.pth').is_file()

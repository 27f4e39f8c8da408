"""Whatever a folder of photographs holds, strange names, what is no file, what cannot be read: it is named."""

import os
import shutil
import socket
import sys
from pathlib import Path

import pytest

import maxl_sr.__main__ as command
from maxl_sr.errors import UserError
from maxl_sr.folders import find
from maxl_sr.photo import Photo
from maxl_sr.report import Report
from maxl_sr.work_list import work_list
from tests.helpers import slow
from tests.photo_runs import BAD_NAME, denoise, files, photograph, tiny


@pytest.mark.parametrize('name', [BAD_NAME, *slow('sub/' + BAD_NAME, os.fsdecode(b'\xff\xfe/a.png'),
                                                   os.fsdecode(b'\xe7\x85/\xa7.jpg'))])
def test_a_name_that_is_not_utf8_is_named_and_the_rest_is_done(call, folder, name):
    photograph(folder / 'plain.png').rename(folder / 'in' / 'new.png')
    path = folder / 'in' / name
    path.parent.mkdir(exist_ok=True)
    shutil.copy(folder / 'in/a.png', path)
    code, told = denoise(call, 'in', '--report', 'report')
    assert code == 1 and 'the name is not UTF-8; rename it' in told.err and 'failed 1' in told.err
    assert files(folder / 'out') == ['a.png', 'new.png', 'sub/b.jpg']
    assert (folder / 'report/index.html').read_text(encoding='utf-8')


def test_folders_and_files_given_by_a_name_that_is_not_utf8(call, folder):
    for arguments in ((BAD_NAME, ), ('in/a.png', '-o', BAD_NAME), ('in', '--report', os.fsdecode(b'r\xe9'))):
        code, told = denoise(call, *arguments) if '-o' not in arguments else call('denoise', *arguments)
        assert code in (1, 2) and told.err.startswith(('error: ', '/')) or 'not UTF-8' in told.err
    os.mkdir(os.fsdecode(b'f\xe9'))
    shutil.copy('in/a.png', os.fsdecode(b'f\xe9/a.png'))
    assert call('compare', '--gt', 'in', os.fsdecode(b'f\xe9'))[0] == 2
    shutil.copytree('in/sub', os.fsdecode(b'f\xe9/sub'))
    code, told = call('compare', '--gt', 'in', os.fsdecode(b'f\xe9'))
    assert code == 0 and 'f\\xe9 (2)' in told.out.replace('\udce9', '\\xe9') or 'udce9' in told.out


def test_compare_reads_names_that_are_not_utf8(call, folder):
    for root in ('gt', 'noisy'):
        os.mkdir(root)
        shutil.copy('in/a.png', os.path.join(root, BAD_NAME))
    code, told = call('compare', '--gt', 'gt', 'noisy')
    assert code == 0 and '| noisy (1) | inf / 1.0000 |' in told.out
    os.remove(os.path.join('noisy', BAD_NAME))
    photograph(folder / 'noisy/other.png')
    code, told = call('compare', '--gt', 'gt', 'noisy')
    assert code == 2 and told.err.isprintable() is False and 'caf' in told.err


@pytest.mark.parametrize('name', ['照片一.png', *slow('naïve.jpg', 'a b\tc.png', "quote'\".png", '-dash.png',
                                                        'x' * 250 + '.png', '📷.webp', '%2e.png', 'a\nb.png',
                                                        '=1+1.png', 'ｆｕｌｌ.png')])
def test_strange_names_are_kept(call, folder, name):
    shutil.rmtree(folder / 'in')
    photograph(folder / 'in' / name)
    code, told = denoise(call, 'in', '--report', 'report')
    assert code == 0 and files(folder / 'out') == [name]
    code, told = denoise(call, 'in', '--report', 'report')
    assert code == 0 and '1 of 1 images are done already' in told.err


def special(path, kind):
    if kind == 'a named pipe':
        os.mkfifo(path)
    elif kind == 'a socket':
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket must be short
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
        os.chdir(here)
    else:
        path.symlink_to('/dev/zero')


KINDS = ['a named pipe', *slow('a socket', 'a device')]


@pytest.mark.parametrize('kind', KINDS)
def test_what_is_no_file_is_named_and_not_waited_for(call, folder, kind):
    special(folder / 'x.png', kind)
    code, told = denoise(call, 'x.png')
    assert code == 2 and told.err == f'error: x.png is {kind}, not a file\n'
    with pytest.raises(UserError, match=f'x.png is {kind}, not a file'):
        tiny().restore('x.png')
    code, told = call('export', '-o', 'net.pth', '--image', 'x.png', '--device', 'cpu')
    assert code == 2 and f'x.png is {kind}' in told.err
    os.rename('x.png', 'in/x.png')
    code, told = denoise(call, 'in')
    assert code == 0 and 'in: skipped: 1 special file' in told.err and files(folder / 'out') == ['a.png', 'sub/b.jpg']
    code, told = call('compare', '--gt', 'out', 'in')
    assert code == 0 and 'in: skipped: 1 special file' in told.err


@pytest.mark.parametrize('kind', KINDS)
def test_outputs_that_are_no_files_are_refused(call, folder, kind):
    special(folder / 'out', kind)
    code, told = denoise(call, 'in')
    assert code == 2 and told.err == 'error: -o out: out is no folder\n'
    special(folder / 'out.png', kind)
    code, told = call('denoise', 'in/a.png', '-o', 'out.png', '--device', 'cpu')
    assert code == 2 and f'out.png is {kind}, not a file' in told.err
    (folder / 'report').mkdir()
    special(folder / 'report/report.csv', kind)
    code, told = call('denoise', 'in', '-o', 'new', '--report', 'report', '--device', 'cpu')
    assert code == 2 and f'report.csv is {kind}, not a file' in told.err and not (folder / 'new').exists()
    (folder / 'results').mkdir()
    special(folder / 'results/x.csv', kind)
    code, told = call('compare', 'results')
    assert code == 2 and f'results/x.csv is {kind}, not a file' in told.err


def test_what_is_skipped_in_a_folder_is_told(call, folder):
    for name in ('a.bmp', 'b.gif', 'c.jfif', 'd.BMP', 'e.nef', 'notes.txt', '.hidden.gif'):
        (folder / 'in' / name).touch()
    (folder / 'in/link').symlink_to(folder / 'in/sub')
    (folder / 'in/lost.png').symlink_to(folder / 'nowhere')
    code, told = denoise(call, 'in')
    assert code == 0
    assert 'in: skipped: 2 .bmp, 1 .gif, 1 .jfif, 1 .nef, 1 broken link, 1 linked folder\n' in told.err
    code, told = call('compare', '--gt', 'out', 'in')
    assert code == 0 and 'in: skipped: 2 .bmp, 1 .gif' in told.err
    (folder / 'other').mkdir()
    (folder / 'other/a.bmp').touch()
    code, told = denoise(call, 'other')
    assert code == 2 and 'other holds no image' in told.err and 'skipped: 1 .bmp' in told.err


def test_folders_that_cannot_be_read_are_told(nobody, capsys):
    photograph(nobody / 'in/a.png')
    photograph(nobody / 'in/locked/b.png')
    (nobody / 'in/locked').chmod(0)
    assert find(Path('in')).told() == 'skipped: 1 unreadable folder'
    assert [job.source.name for job in work_list([Path('in')], Path('out'))] == ['a.png']
    assert 'in: skipped: 1 unreadable folder' in capsys.readouterr().err
    (nobody / 'in').chmod(0)
    with pytest.raises(UserError, match='in holds no image .*; skipped: 1 unreadable folder'):
        work_list([Path('in')], Path('out'))
    (nobody / 'in').chmod(0o755)
    (nobody / 'in/a.png').chmod(0)
    with pytest.raises(UserError, match='cannot read the image in/a.png: Permission denied'):
        Photo.read('in/a.png')


def test_folders_that_cannot_be_written_to_are_named_before_anything_is_computed(nobody):
    photograph(nobody / 'in/a.png')
    (nobody / 'locked').mkdir(mode=0o555)
    for output in ('locked', 'locked/new/deeper'):
        with pytest.raises(UserError, match=f'-o {output}: the folder locked cannot be written to'):
            work_list([Path('in')], Path(output))
        with pytest.raises(UserError, match=f'--report {output}: the folder locked cannot be written to'):
            Report(Path(output))


def test_an_option_file_that_cannot_be_read_is_named(nobody, monkeypatch, capsys):
    photograph(nobody / 'in/a.png')
    (nobody / 'own.yml').write_text('name: x')
    (nobody / 'own.yml').chmod(0)
    for arguments in (('denoise', 'in', '-o', 'out', '-opt', 'own.yml'),
                      ('export', '-o', 'net.pth', '-opt', 'own.yml')):
        monkeypatch.setattr(sys, 'argv', ['maxl-sr', *arguments])
        assert command.main() == 2
        told = capsys.readouterr().err
        assert told.startswith('error: ') and 'cannot read own.yml: Permission denied' in told and told.count('\n') == 1


def test_a_heif_that_is_cut_is_told_in_short(call, folder):
    for name, data in (('c.avif', b'\x1cftypavif\0\0\0\0avifmif1miaf'), ('d.avif', b'\x1cftypavif\0\0\0\0')):
        (folder / 'in' / name).write_bytes(b'\0\0\0' + data)
    code, told = denoise(call, 'in')
    assert code == 1 and told.err.count('error: cannot read the image in/') == 2 and 'bad seek' not in told.err

"""Outputs that cannot be, and paths that are none."""

import os

import pytest

from maxl_sr.restorer import MOST_STEPS
from maxl_sr.utils.files import replacing
from tests.photo_runs import denoise, files


@pytest.mark.parametrize('arguments, message', [
    (('--steps', str(MOST_STEPS + 1)), f'steps must be at most {MOST_STEPS}'), (('--steps', '9' * 400), 'at most'),
    (('--steps', '9' * 5000), 'invalid count value'), (('--steps', '1e3'), 'invalid count value'),
    (('--lr', 'inf'), 'must be greater than 0'), (('--lr', 'nan'), 'must be greater than 0'),
    (('--tile', '0'), 'tile must be an integer of at least 1'), (('--tile', '-4'), 'must be at least 0'),
    (('--report', 'in/a.png/x'), '--report in/a.png/x: in/a.png is no folder'), (('--device', ''), 'is unknown'),
    (('--device', 'cuda:99'), 'is unknown to torch, or not there'), (('-opt', 'in'), 'there is no file in'),
    (('-opt', '/dev/zero'), 'there is no file'), (('x' * 5000, ), 'there is no file or folder'),
    (('in/a.png/b', ), 'there is no file or folder'), (('--report', ''), 'argument --report: must not be empty'),
    (('', ), 'argument PHOTO_OR_FOLDER: must not be empty'), (('--report', 'r' * 300), 'the name is longer than'),
])
def test_mistakes_are_one_sentence(call, folder, arguments, message):
    before = files(folder)
    code, told = call('denoise', 'in', *arguments, '-o', 'out')
    assert code == 2 and message in told.err and files(folder) == before
    assert told.err.splitlines()[-1].count('error: ') == 1


@pytest.mark.parametrize('output, kind', [('x' * 300, 'name'), ('none/' + 'x' * 300, 'name'), ('é' * 130, 'name'),
                                          ('/'.join(['y' * 200] * 30), 'path')])
def test_outputs_too_long_are_told_once(call, folder, output, kind):
    for arguments in (('denoise', 'in', '-o', output), ('denoise', 'in/a.png', '-o', f'{output}.png'),
                      ('prepare', 'div2k', 'in', '-o', output), ('export', '-o', f'{output}.pth'),
                      ('denoise', 'in', '-o', 'out', '--report', output)):
        before = files(folder)
        code, told = call(*arguments)
        assert code == 2 and told.err.startswith('error: ') and told.err.count('\n') == 1
        assert f'the {kind} is longer than ' in told.err and files(folder) == before


@pytest.mark.parametrize('output', ['in/a.png/x', '/proc/none', 'in/a.png/../b', '\t/\n'])
def test_outputs_that_cannot_be_are_named(call, folder, output):
    before = files(folder / 'in')
    code, told = call('denoise', 'in', '-o', output, '--device', 'cpu', '--steps', '0')
    assert code in (0, 1, 2) and (code == 0) == (output == '\t/\n') and files(folder / 'in') == before


def test_photographs_may_stand_behind_options(call, folder):
    code, told = call('denoise', 'in/a.png', '-o', 'out', '--steps', '0', 'in/sub')
    assert code == 0 and {path for path in files(folder) if path.startswith('out/')} == {'out/a.png', 'out/b.jpg'}


def test_a_report_is_not_put_among_the_photographs(call, folder):
    before = files(folder)
    for report in ('in', 'in/sub/..', '../' + folder.name + '/in'):
        code, told = denoise(call, 'in', '--report', report)
        assert code == 2 and f'--report {report} is a folder of photographs' in told.err and files(folder) == before


def test_replacing_a_file_keeps_it_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / 'a.png'
    path.write_text('old')
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text('half')
        raise ZeroDivisionError
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize('output', ['circle', 'circle/x', 'circle/x.png'])
def test_outputs_that_are_circles_of_links(call, folder, output):
    os.symlink('circle', folder / 'circle')
    code, told = call('denoise', 'in/a.png', '-o', output, '--steps', '0', '--device', 'cpu')
    assert code in (1, 2) and told.err.count('error: ') == 1 and 'circle' in told.err


@pytest.mark.parametrize('arguments', [('denoise', 'in', '-o', 'a\0b'), ('denoise', 'a\0b', '-o', 'out'),
                                       ('export', '-o', 'a\0.pth'), ('export', '-o', ''), ('compare', ''),
                                       ('compare', 'in', '--gt', ''), ('export', '-o', 'a.pth', '--image', '')])
def test_paths_that_are_none(call, folder, arguments):
    code, told = call(*arguments)
    assert code == 2 and 'must not ' in told.err.splitlines()[-1]
    assert files(folder) == ['in/a.png', 'in/sub/b.jpg']


def test_a_report_is_not_written_over_a_page_of_others(call, folder):
    (folder / 'site').mkdir()
    (folder / 'site/index.html').write_text('mine')
    for table in (None, 'image,psnr\n', '"' * 9, '\0' * 9):
        if table is not None:
            (folder / 'site/report.csv').write_text(table)
        code, told = denoise(call, 'in', '--report', 'site')
        assert code == 2 and 'error: --report: site/' in told.err
        assert (folder / 'site/index.html').read_text() == 'mine' and not (folder / 'out').exists()


@pytest.mark.parametrize('name', ['x' * 300, 'none/' * 40 + 'x' * 300])
def test_what_the_system_says_of_a_hidden_file_is_told_of_the_one_that_was_asked_for(folder, name):
    with pytest.raises(OSError) as info:
        with replacing(folder / name):
            pass
    assert info.value.filename == str(folder / name)

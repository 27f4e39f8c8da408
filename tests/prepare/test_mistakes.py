"""Images that are missing, damaged or no pair, and values that cannot be."""

from pathlib import Path

import pytest

from maxl_sr import prepare
from maxl_sr.errors import UserError
from tests.prepare.layouts import fails, names, run, save, texture


def test_missing_and_unpaired_images(nam: Path, polyu: Path, sidd: Path, tmp_path: Path,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    out, empty = tmp_path / 'out', tmp_path / 'empty'
    empty.mkdir()
    for command in ('div2k', 'sidd', 'polyu', 'nam'):
        assert str(tmp_path / 'nowhere') in fails(capsys, command, tmp_path / 'nowhere', '-o', out)
        assert str(empty) in fails(capsys, command, empty, '-o', out)
    (nam / 'd800_1_mean.png').rename(nam / 'd800_9_mean.png')
    assert str(nam / 'd800_1_real.png') in fails(capsys, 'nam', nam, '-o', out)
    (nam / 'd800_1_real.png').unlink()
    assert str(nam / 'd800_9_mean.png') in fails(capsys, 'nam', nam, '-o', out)
    lonely = sidd / 'Data' / '0001_001_S6_00100_N' / 'NOISY_SRGB_010.PNG'
    lonely.with_name('GT_SRGB_010.PNG').unlink()
    assert str(lonely) in fails(capsys, 'sidd', sidd, '-o', out)
    (polyu / 'OriginalImages' / 'A_toy_mean.JPG').unlink()
    assert 'A_toy_Real.JPG' in fails(capsys, 'polyu', polyu, '-o', out)
    for suffix in ('png', 'jpg'):
        save(empty / f'twice.{suffix}', texture(8, 8))
    assert 'twice.png' in fails(capsys, 'div2k', empty, '-o', out)
    assert not out.exists()


@pytest.mark.parametrize('name', ['d800_1_real.png', 'd600.x_2_Mean.JPG'])
@pytest.mark.parametrize('part', [0.6, 0.0])
def test_truncated_images(nam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                          name: str, part: float) -> None:
    data = (nam / name).read_bytes()
    (nam / name).write_bytes(data[:int(len(data) * part)])
    out = tmp_path / 'out'
    assert str(nam / name) in fails(capsys, 'nam', nam, '-o', out)
    (nam / name).write_bytes(data)
    run('nam', nam, '-o', out)
    assert len(names(out / 'gt')) == len(names(out / 'lq')) == 2


def test_pair_of_different_sizes(nam: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(nam / 'd800_1_real.png', texture(40, 44))
    message = fails(capsys, 'nam', nam, '-o', tmp_path / 'out')
    assert str(nam / 'd800_1_real.png') in message and '44x40' in message and '48x40' in message
    with pytest.raises(UserError, match='is 44x40, but its clean partner d800_1_mean.png is 48x40'):
        prepare.run(['nam', str(nam), '-o', str(tmp_path / 'jobs'), '--jobs', '4'])


def test_wrong_values(nam: Path, polyu: Path, sidd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / 'out'
    for options in (['--size', -1], ['--size', 16, '--step', 0], ['--size', 16, '--step', 17], ['--max-shift', -1]):
        assert f'{options[-2]} {options[-1]}' in fails(capsys, 'nam', nam, '-o', out, *options)
    assert prepare.main(['nam', str(nam), '-o', str(out), '--jobs', '0']) == 2
    assert "'1'; it has 001, 002, 010" in fails(capsys, 'sidd', sidd, '-o', out, '--scenes', '001,1')
    assert "'08'" in fails(capsys, 'sidd', sidd, '-o', out, '--exclude-scenes', '08')
    assert 'leave no scene' in fails(capsys, 'sidd', sidd, '-o', out, '--scenes', '001', '--exclude-scenes', '001')
    assert 'nam' in fails(capsys, 'nam', nam, '-o', nam / 'd800_1_real.png')

    split = polyu / 'split.json'
    save(polyu / 'OriginalImages' / 'B_new_Real.JPG', texture(64, 96))
    save(polyu / 'OriginalImages' / 'B_new_mean.JPG', texture(64, 96))
    assert 'B_new_Real.JPG' in fails(capsys, 'polyu', polyu, '-o', out, '--subset', 'train')
    split.write_text('{"train": ["A_toy"], "val": ["A_toy"]}')
    assert 'scene A_toy in both' in fails(capsys, 'polyu', polyu, '-o', out)
    for text in ('{"train": []}', '[]', 'no json'):
        split.write_text(text)
        assert str(split) in fails(capsys, 'polyu', polyu, '-o', out)
    split.unlink()
    assert str(split) in fails(capsys, 'polyu', polyu, '-o', out, '--subset', 'val')
    assert not out.exists()

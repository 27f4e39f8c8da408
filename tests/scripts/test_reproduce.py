"""The rows of the paper's tables: their option files, a run from end to end, and the page of the figures."""

import json
import re
import shutil

import cv2
import jsonschema
import numpy as np
import pytest
import torch
import yaml
from basicsr.data import build_dataset

from maxl_sr.errors import UserError
from maxl_sr.utils.packaged import option_folder
from scripts import figures, reproduce
from scripts.reproduction import measure
from scripts.reproduction.plan import Plan, Training, definitions, merged
from scripts.reproduction.report import page, spread, summary, write_report
from scripts.reproduction.results import by_step, gains, load, validations, values
from scripts.reproduction.trained import networks
from tests.helpers import ROOT, python

TABLES = definitions()['tables']
SCHEMA = json.loads((option_folder() / 'options.schema.json').read_text(encoding='utf-8'))
EVIDENCE = ROOT / 'docs/evidence'


def rows(scale):
    return Plan(scale).rows(list(TABLES), None, [0])


def test_changes_are_merged_and_a_null_takes_a_key_out():
    opt = {'a': {'b': 1, 'c': 2}, 'd': [1]}
    assert merged(opt, {'a': {'b': None, 'e': 3}, 'd': [2], 'f': {'g': 4}}) == {'a': {'c': 2, 'e': 3}, 'd': [2],
                                                                               'f': {'g': 4}}
    assert opt == {'a': {'b': 1, 'c': 2}, 'd': [1]}


@pytest.mark.parametrize('scale', definitions()['scales'])
def test_the_option_files_of_all_rows_are_valid(scale):
    validator = jsonschema.Draft202012Validator(SCHEMA)
    for row in rows(scale):
        for opt in (*(training.opt for training in row.trainings), *row.tests.values()):
            assert [error.message for error in validator.iter_errors(json.loads(json.dumps(opt)))] == [], opt['name']


@pytest.mark.parametrize('scale', definitions()['scales'])
def test_the_network_is_updated_equally_often_in_all_rows(scale):
    """A mask network takes half of the iterations of stage 1."""
    updates, shares = {'stage1': set(), 'stage2': set()}, definitions()['stage2']
    for row in rows(scale):
        if 'share' in shares[row.name]:
            continue
        for training in row.trainings:
            if training.stage in updates:
                half = training.stage == 'stage1' and 'network_m' in training.opt
                updates[training.stage].add(training.opt['train']['total_iter'] // (2 if half else 1))
    assert all(len(found) == 1 for found in updates.values())


def test_rows_are_what_they_are_called():
    found = {row.name: row for row in rows('small')}
    opt = {name: row.trainings[-1].opt for name, row in found.items()}
    assert 'network_m' not in opt['maxl_plain'] and 'network_m' in opt['maxl']
    assert len(found['random_masked'].trainings) == 1 and len(found['maxl'].trainings) == 2
    assert 'mask_opt' not in found['maxl_without_l_g'].trainings[0].opt['train']
    assert found['maxl'].trainings[0] == found['maxl_all'].trainings[0]
    assert opt['maxl_all']['train']['inner']['params'] == 'all' and opt['maxl']['train']['inner']['params'] == 'heads'
    assert opt['parallel']['network_g']['type'] == 'ParallelMultiTaskNet'
    test = found['maxl_fine_tuned'].tests['trained rate']
    assert 'stage1_masked' in test['path']['pretrain_network_m']  # it has no mask of its own
    assert test['val']['adapt']['lr'] == pytest.approx(0.03)
    assert 'adapt' not in found['ridnet'].tests['']['val']


@pytest.mark.parametrize('scale', definitions()['scales'])
def test_longer_steps_are_three_times_as_long(scale):
    """In training and test, at every scale."""
    rate = {name: Plan(scale).row(name, 0) for name in ('maxl', 'mask_fast_steps')}
    inner = [row.trainings[-1].opt['train']['inner']['lr'] for row in rate.values()]
    tested = [row.tests['trained rate']['val']['adapt']['lr'] for row in rate.values()]
    assert inner[1] == pytest.approx(3 * inner[0]) and tested[1] == pytest.approx(3 * tested[0])


def test_further_changes_are_of_their_stage_alone():
    row = Plan('small', {'stage2': {'manual_seed': 5, 'train': {'warmup_iter': 7}}}).row('maxl', 0)
    assert [training.opt['train']['warmup_iter'] for training in row.trainings] == [-1, 7]
    assert Plan('small', {'ridnet': {'train': {'warmup_iter': 7}}}).row('ridnet', 0).trainings[0].opt['train'][
        'warmup_iter'] == 7


def test_the_time_of_a_training_that_was_stopped_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'experiments/x').mkdir(parents=True)
    spent = iter([0.0, 3.0, 3.0, 5.0])
    monkeypatch.setattr(measure, '_processor_seconds', lambda: next(spent))
    training = Training('x', 'stage2', {}, 1)

    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, '_run', stopped)
    with pytest.raises(KeyboardInterrupt):
        measure.train(training)
    monkeypatch.setattr(measure, '_run', lambda *arguments: None)
    measure.train(training)
    assert measure._seconds(training) == 5


def test_the_log_of_a_training_tells_its_curves(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / 'experiments/x'
    folder.mkdir(parents=True)
    (folder / 'train_x.log').write_text(
        'INFO: [x..][epoch:  0, iter:     600, lr:(1.000e-04,)] l_pix: 2.0e-02 mask_mean: 5.0e-01\n'
        'INFO: Validation SIDD-Small-val\n\t # psnr: 29.1558\tBest: 29.1558 @ 600 iter\n\n'
        'INFO: Validation PolyU-val\n\t # psnr: 36.0555\tBest: 36.0555 @ 600 iter\n\n'
        'INFO: [x..][epoch:  1, iter:   1,200, lr:(1.000e-04,)] l_pix: 2.0e-02 mask_mean: 4.0e-01\n'
        'INFO: Validation PolyU-val\n\t # psnr: 36.5000\tBest: 36.5000 @ 1200 iter\n'
        'INFO: End of training. Time consumed: 0:00:01\n'
        'INFO: Validation PolyU-val\n\t # psnr: 37.0000\tBest: 37.0000 @ 1300 iter\n')
    found = measure._of_training(Training('x', 'ridnet', {'train': {'total_iter': 1300}}, 1300))
    assert found['mask_mean'] == [[600, 0.5], [1200, 0.4]]
    curve = [[600, 36.0555], [1200, 36.5], [1300, 37.0]]
    assert found['validation'] == {'SIDD-Small-val': [[600, 29.1558]], 'PolyU-val': curve}
    assert validations({'trainings': {'ridnet': found}}) == {'PolyU-val': curve}


def test_an_unknown_row_is_named():
    with pytest.raises(UserError, match='--rows maxx: there is no such row; there are random_plain'):
        list(Plan('tiny').rows([1], ['maxx'], [0]))


def cosines_by_hand():
    net, mask_net, opt = networks(Plan('tiny').row('maxl', 0))
    heads = [weight.requires_grad_() for weight in net.primary_head.parameters()]
    found = []
    for item in build_dataset({**opt['datasets']['test_1'], 'phase': 'test', 'scale': 1}):
        y, x = item['lq'][None], item['gt'][None]
        restored, again = net.forward_heads(net.forward_features(y), y)
        losses = ((again - y).abs() * mask_net(y)).mean(), (restored - x).abs().mean()
        a, b = ([torch.zeros_like(weight) if part is None else part for weight, part in zip(heads, torch.autograd.grad(
            loss, heads, retain_graph=True, allow_unused=True))] for loss in losses)
        dot, *squares = (sum(float((p * q).sum()) for p, q in zip(*pair)) for pair in ((a, b), (a, a), (b, b)))
        found.append(dot / (squares[0] * squares[1]) ** 0.5)
    return found


@pytest.mark.slow
def test_tiny_from_end_to_end(make_pairs, tmp_path, monkeypatch):
    folder = make_pairs(count=3)
    for kind in ('gt', 'lq'):
        (tmp_path / kind).symlink_to(folder / kind)
    command = (ROOT / 'scripts/reproduce.py', '--scale', 'tiny', '--rows', 'maxl', '--table', '2')
    done = python(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r'maxl, seed 0: done, 1 of 1 in .* minutes left', done.stdout)
    found = json.loads((tmp_path / 'evidence/tiny/maxl-0.json').read_text())
    assert set(found['data']['pairs']['after']) == set(definitions()['readings'])
    monkeypatch.chdir(tmp_path)
    assert found['data']['pairs']['cosine'] == pytest.approx(cosines_by_hand(), abs=2e-3)
    assert found['trainings']['stage1']['iterations'] == 4 and found['processor'] == measure.processor()
    assert '1 rows, 1 of them done' in python(*command, cwd=tmp_path).stdout
    reported = python(command[0], '--report', tmp_path / 'pages/evidence.md', cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    assert (tmp_path / 'pages/evidence.md').read_text() == page(tmp_path / 'evidence')
    assert all((tmp_path / f'pages/images/evidence_tiny{part}.png').stat().st_size > 5000 for part in ('', '_gains'))
    drawn = python(ROOT / 'scripts/figures.py', '--scale', 'tiny', '--masks', 'maxl', 'maxl', cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    heights = {}
    for name in ('restored', 'masks', 'steps', 'features'):
        heights[name], width = cv2.imread(str(tmp_path / f'figures/{name}.jpg')).shape[:2]
        assert min(heights[name], width) > 100
    assert heights['masks'] < heights['steps']  # two lines of pictures, each stage once; three
    shutil.rmtree(tmp_path / 'figures')
    missing = python(ROOT / 'scripts/figures.py', 'steps', '--scale', 'tiny', '--row', 'parallel', cwd=tmp_path)
    assert missing.returncode == 2 and 'error: row parallel, seed 0 has not been trained' in missing.stderr
    assert not list(tmp_path.glob('figures/*'))


@pytest.mark.parametrize('arguments, told', [
    (('--changes', 'none.yml'), 'there is no file none.yml'), (('--seeds', '-1'), 'must be from 0 to'),
    (('--changes', 'text.yml'), 'text.yml must hold sections'),
    (('--changes', 'stage.yml'), 'there is no stage stage_2; there are stage1, stage2'),
    (('-o', 'old', '--rows', 'maxl', '--table', '1'), 'maxl-0.json was measured with other --changes'),
    (('--report', 'x.md'), 'evidence holds no figures')])
def test_mistakes_are_one_sentence(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text.yml').write_text('text')
    (tmp_path / 'stage.yml').write_text('stage_2: {manual_seed: 1}')
    (tmp_path / 'old/small').mkdir(parents=True)
    old = result('maxl', 0, [30], [30]) | {'changes': {'test': {}}}
    (tmp_path / 'old/small/maxl-0.json').write_text(json.dumps(old))
    monkeypatch.setattr('sys.argv', ['reproduce.py', '--list', *arguments])
    assert reproduce.main() == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and told in error and error.count('\n') == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ['old', 'stage.yml', 'text.yml']


@pytest.mark.slow
def test_a_training_that_fails_is_named(tmp_path):
    # There is no data
    done = python(ROOT / 'scripts/reproduce.py', '--scale', 'tiny', '--rows', 'ridnet', cwd=tmp_path)
    assert done.returncode == 2 and not list(tmp_path.glob('evidence/*/*.json'))
    assert 'error: train of reproduce_tiny_ridnet_ridnet_0 ended with exit code 2, see experiments' in done.stderr


def result(row, seed, before, after):
    reading = {'psnr': after, 'ssim': [0.5] * len(after), 'psnr_steps': [[value - 0.1, value] for value in after],
               'seconds': 1.0}
    return {'row': row, 'scale': 'small', 'seed': seed, 'commit': 'abc', 'processor': 'one', 'torch': '2',
            'date': 'today',
            'trainings': {'stage2': {'seconds': 120, 'updates': 500, 'mask_mean': [[100, 0.5]]}},
            'data': {'set': {'images': len(before), 'noisy': {'psnr': [25.0] * len(before)},
                             'cosine': [0.5, -0.001], 'before': {'psnr': before, 'ssim': [0.5] * len(before)},
                             'after': {'trained rate': reading}}}}


def test_the_figures_of_the_page_by_hand(tmp_path):
    folder = tmp_path / 'small'
    folder.mkdir()
    for seed, shift in ((0, 0.0), (1, 1.0)):
        for row, before in (('maxl', 30.0), ('random_masked', 28.0)):
            figures = result(row, seed, [before, before + 2 * shift], [before + 0.5, before + 2 * shift + 0.1])
            (folder / f'{row}-{seed}.json').write_text(json.dumps(figures))
    found = load(folder)
    np.testing.assert_allclose(values(found['maxl'], 'set'), [30, 31])
    np.testing.assert_allclose(gains(found['maxl'], 'set', 'trained rate'), [[0.5, 0.1]] * 2)
    np.testing.assert_allclose(by_step(found['maxl']), [[0, 0.4, 0.5], [0, 0.0, 0.1]] * 2, atol=1e-9)
    assert spread(np.array([1.0, 2.0]), sign=True) == '+1.50 ± 0.50' and spread(np.array([1.0])) == '1.00'
    text = page(tmp_path)
    assert '| MAXL against random initialisation | +2.00 ± 0.00 |' in text
    assert '(the method) (`maxl`) | 30.50 ± 0.50 | +0.30 ± 0.00 | 500 | 2 | 0, 1 |' in text
    assert '| parallel heads, heads adapt (`parallel`) | | | | | not run |' in text
    assert '| `maxl` |  |  | +0.300 (+0.10) |' in text  # of the readings
    assert '| `maxl` | +0.25 (+0.00 … +0.50) |' in text  # of the cosines
    assert text.count('| noisy | 25.00 | | | | |') == len(TABLES)
    assert ' - one. torch 2.\n - Commits: abc. Dates: today.\n' in text


def test_a_network_that_does_not_adapt_and_its_curve(tmp_path):
    folder = tmp_path / 'docs/evidence/small'
    folder.mkdir(parents=True)
    figures = result('ridnet_long', 0, [31.0], [31.0])
    del figures['data']['set']['after'], figures['data']['set']['cosine']
    figures.update(data={'set': {**figures['data']['set'], 'after': {}}}, processor='two', note='on half of the tiles')
    figures['trainings'] = {'ridnet': {'seconds': 60, 'updates': 9, 'validation': {'val': [[3, 30.0], [9, 31.0]]}}}
    for content in (figures, result('maxl', 0, [30.0], [30.0]), result('maxl', 1, [30.0], [30.0])):
        (folder / f"{content['row']}-{content['seed']}.json").write_text(json.dumps(content))
    write_report(folder.parent, tmp_path / 'docs/page.md')
    text = (tmp_path / 'docs/page.md').read_text(encoding='utf-8')
    assert '(`ridnet_long`) | 31.00 |  | 9 | 1 | 0 |' in text
    assert ' - one. torch 2 (all other rows).\n' in text
    assert ' - two. torch 2 (`ridnet_long` 0): on half of the tiles.\n' in text
    picture = '![Validation as the training goes on](images/evidence_small_validation.png)'
    assert text.count(picture) == 1 and text.index('Table 2') < text.index(picture) < text.index('Table 3')
    assert (tmp_path / 'docs/images/evidence_small_validation.png').exists()


@pytest.mark.parametrize('text, told', [
    ('{', 'maxl-0.json holds no figures of a row'), ('{"row": "maxl"}', 'maxl-0.json holds no figures of a row'),
    ('[]', 'maxl-0.json holds no figures of a row'), (None, 'holds no figures')])
def test_a_page_of_nothing(text, told, tmp_path):
    (tmp_path / 'small').mkdir()
    if text:
        (tmp_path / 'small/maxl-0.json').write_text(text)
    with pytest.raises(UserError, match=told):
        page(tmp_path)


def test_the_page_of_the_docs_is_that_of_its_figures():
    if not EVIDENCE.is_dir() or not any(EVIDENCE.glob('*/*.json')):
        pytest.skip('there are no figures yet')
    assert (ROOT / 'docs/evidence.md').read_text(encoding='utf-8') == page(EVIDENCE)


@pytest.mark.parametrize('arguments, told', [
    (('--row', 'maxx'), 'there is no row maxx'), (('--row', 'ridnet'), '--row ridnet does not adapt'),
    (('--noisy', 'a.png'), '--noisy and --truth go together'), (('--masks', 'primary_plain', 'x'), 'there is no row x'),
    (('masks', '--masks', 'random_plain'), 'no checkpoints of a mask network of random_plain'),
    (('--noisy', 'text.yml', '--truth', 'text.yml'), 'text.yml is no image'),
    (('--noisy', 'no.png', '--truth', 'no.png'), 'there is no file no.png')])
def test_mistakes_of_the_figures_are_one_sentence(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'text.yml').write_text('text')
    monkeypatch.setattr('sys.argv', ['figures.py', *arguments])
    assert figures.main() == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and told in error and error.count('\n') == 1


def test_the_table_of_the_readme_is_that_of_its_figures():
    assert summary(EVIDENCE) in (ROOT / 'README.md').read_text(encoding='utf-8')


def test_rows_name_no_change_that_is_not_there():
    found = yaml.safe_load((ROOT / 'scripts/reproduction/rows.yml').read_text(encoding='utf-8'))
    used = {change for part in ('stage1', 'stage2') for row in found[part].values()
            for change in (*row.get('changes', []), *row.get('test', []))}
    assert used | {'masked'} == set(found['changes'])
    assert {name for claim in found['claims'].values() for name in claim} <= set(found['stage2'])

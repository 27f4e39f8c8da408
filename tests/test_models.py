import pytest
from conftest import train_options, test_options


@pytest.mark.parametrize('model', ['MAXLModel', 'MetaTransferModel'])
def test_train_and_test(model, make_pairs, run, tmp_path):
    pairs = make_pairs()
    assert run('train', train_options(model, pairs)) == 0
    opt = test_options(pairs, tmp_path / 'experiments/tiny/models')
    opt['val']['save_img'] = True
    assert run('test', opt) == 0
    print((tmp_path / 'results/tiny_test/tiny.csv').read_text())

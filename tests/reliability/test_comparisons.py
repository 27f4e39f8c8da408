"""The comparison names what it cannot read."""

import cv2


def test_compare_names_what_it_cannot_read(call, folder):
    (folder / 'results').mkdir()
    (folder / 'results/test_x.log').write_text('Validation x\n\t# psnr: 1.2.3\n\t# ssim: 0.5\n')
    code, told = call('compare', 'results')
    assert code == 0 and '| x | results | | 0.5000 | | | |' in told.out
    for name in ('nowhere', 'in/a.png'):
        code, told = call('compare', name)
        assert code == 2 and told.err == f'error: there is no folder {name}\n'


def test_compare_tells_want_of_memory_from_a_damaged_image(call, folder, monkeypatch):
    def fail(*args):
        raise cv2.error('Insufficient memory: Failed to allocate 9 bytes')

    monkeypatch.setattr(cv2, 'imdecode', fail)
    code, told = call('compare', 'in', '--gt', 'in')
    assert code == 2 and told.err == 'error: there is not enough memory for the image in/a.png\n'

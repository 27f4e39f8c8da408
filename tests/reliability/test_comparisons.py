"""The comparison names what it cannot read."""

import cv2
import pytest
from PIL import Image


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


@pytest.mark.parametrize('name, options, told', [
    ('a.jpg', {'quality': 95}, 'a.jpg cannot be read as an image; it is damaged or truncated'),
    ('a.png', {}, 'a.png cannot be read as an image; it is damaged or truncated'),
    ('a.tif', {'save_all': True}, 'a.tif has 2 pages'), ('a.webp', {'save_all': True}, 'a.webp has 2 pages')])
def test_compare_takes_no_part_of_a_file_for_the_image(call, folder, name, options, told):
    """OpenCV fills missing rows with grey, and gives the first picture of several: both would count in the figures."""
    image = Image.open(folder / 'in/a.png').convert('RGB')
    for kind in ('gt', 'cut'):
        (folder / kind).mkdir()
        image.save(folder / kind / 'a.png')
    (folder / 'cut/a.png').unlink()
    more = {'append_images': [image.transpose(Image.Transpose.ROTATE_180)]} if 'save_all' in options else {}
    image.save(folder / 'cut' / name, **options, **more)
    if not more:
        data = (folder / 'cut' / name).read_bytes()
        (folder / 'cut' / name).write_bytes(data[:len(data) * 3 // 4])
    code, err = call('compare', 'cut', '--gt', 'gt')
    assert code == 2 and f'error: cut/{told}' in err.err

"""Make the pictures of README and docs, from real runs: ``python scripts/pictures.py`` (needs Chromium).

Photographs are those that scikit-image installs; the noise is made here.
"""

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from demo import interference
from PIL import Image, ImageDraw
from playwright.sync_api import sync_playwright
from skimage import data

from maxl_sr import Restorer

OUT = Path(__file__).resolve().parents[1] / 'docs/images'
PORT = 7919


def noisy(name: str) -> np.ndarray:
    """A photograph with Gaussian noise of σ = 25, as JPEG of quality 60."""
    clean = getattr(data, name)()
    image = (clean + np.random.default_rng(0).normal(0, 25, clean.shape)).round().clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'JPEG', quality=60)
    return np.asarray(Image.open(file))


def strip(parts: dict[str, np.ndarray], path: Path) -> None:
    """Write parts of an image side by side, with what they are below."""
    height, width = next(iter(parts.values())).shape[:2]
    sheet = Image.new('RGB', (len(parts) * (width + 6) - 6, height + 18), 'white')
    for number, (text, part) in enumerate(parts.items()):
        sheet.paste(Image.fromarray(part), (number * (width + 6), 0))
        ImageDraw.Draw(sheet).text((number * (width + 6) + 2, height + 3), text, 'black')
    sheet.save(path, quality=92, subsampling=0)


def psnr(image: np.ndarray, clean: np.ndarray) -> float:
    """PSNR in dB, RGB, of 8 bits."""
    return float(10 * np.log10(255 ** 2 / np.mean((image.astype(float) - clean) ** 2)))


def main() -> None:
    """Make them all."""
    OUT.mkdir(exist_ok=True)
    clean = data.chelsea()
    image = interference(clean, np.random.default_rng(0))
    fast = Restorer.from_pretrained('fast')
    run = fast.run(image)
    part = (slice(40, 260), slice(100, 380))
    before = fast.restore(image, steps=0)
    assert isinstance(before, np.ndarray)
    parts = {f'interference, {psnr(image, clean):.2f} dB': image, f'un-adapted, {psnr(before, clean):.2f} dB': before,
             f'adapted, {run.steps} steps, {psnr(run.image, clean):.2f} dB': run.image,
             'without noise': clean}
    strip({text: whole[part] for text, whole in parts.items()}, OUT / 'interference.jpg')  # JPEG: small
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which('chromium'), args=['--no-sandbox'])
        for name in ('coffee', 'chelsea'):
            (Path(folder) / 'photos').mkdir(exist_ok=True)
            Image.fromarray(noisy(name)).save(Path(folder) / f'photos/{name}.png')
        command = 'denoise photos --preset paper -o out --report report'
        subprocess.run([sys.executable, '-m', 'maxl_sr', *command.split()], cwd=folder, check=True)
        page = browser.new_page(viewport={'width': 1200, 'height': 760})
        page.goto(f'file://{folder}/report/index.html')
        page.screenshot(path=OUT / 'report.png')
        server = subprocess.Popen([sys.executable, '-m', 'maxl_sr', 'web', '--port', str(PORT)], text=True,
                                  stdout=subprocess.PIPE)
        assert server.stdout is not None
        server.stdout.readline()
        page = browser.new_page(viewport={'width': 1240, 'height': 900})
        page.set_default_timeout(120_000)
        page.goto(f'http://127.0.0.1:{PORT}')
        page.click('text=Example: coffee')
        page.wait_for_selector('#photo >> text=coffee')
        page.click('#run')
        page.wait_for_selector('#figures >> text=pixels')
        page.wait_for_timeout(1500)
        page.screenshot(path=OUT / 'web.png')
        server.terminate()
        server.wait()
        browser.close()


if __name__ == '__main__':
    main()

"""The whole method on a laptop: prepare data, train both stages, adapt to noisy photographs, compare.

Photographs are the colour ones that scikit-image installs; the noise is that of a camera, made here. Everything is
written to ``demo_output/`` in the current folder.
"""

import csv
import re
import subprocess
import sys
import time
from pathlib import Path

import maxl_sr.register  # noqa: F401  isort: skip  (before anything of BasicSR)
import cv2
import numpy as np
import skimage.data
from basicsr.metrics import calculate_psnr

from maxl_sr import Restorer
from maxl_sr.errors import UserError
from maxl_sr.utils.files import check_folder, check_name, replacing
from maxl_sr.utils.packaged import option_folder

OUT = Path('demo_output').resolve()
TRAIN = ('astronaut', 'rocket', 'stereo_motorcycle', 'immunohistochemistry', 'hubble_deep_field')
TEST = ('chelsea', 'coffee')


def photograph(name: str) -> np.ndarray:
    """A photograph of scikit-image, RGB uint8 (H, W, 3)."""
    image = getattr(skimage.data, name)()
    return image[0] if isinstance(image, tuple) else image  # the left one of a stereo pair


def camera_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise of a camera at high ISO: shot noise (variance in proportion to the signal) and read noise.

    Demosaicing and the camera's own processing have made it spatially correlated.
    """
    signal = image.astype(np.float32) / 255
    white = rng.standard_normal(image.shape).astype(np.float32)
    correlated = cv2.GaussianBlur(white, (0, 0), 0.7)
    correlated /= correlated.std()
    noisy = signal + np.sqrt(0.008 * signal + 0.0008) * correlated
    return (np.clip(noisy, 0, 1) * 255).round().astype(np.uint8)


def write(path: Path, image: np.ndarray) -> None:
    """Write a PNG, whole or not at all."""
    with replacing(path) as partial:
        partial.write_bytes(cv2.imencode('.png', image)[1].tobytes())


def write_photographs() -> None:
    """Write the photographs in layouts that ``maxl_sr.prepare`` knows: clean ones, and pairs like Nam's data set."""
    rng = np.random.default_rng(0)
    for part, names in (('train', TRAIN), ('test', TEST)):
        for folder in (OUT / 'photos' / part, OUT / 'photos' / 'clean'):
            folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            clean = photograph(name)[..., ::-1]
            images = {OUT / 'photos' / part / f'{name}_mean.png': clean,
                      OUT / 'photos' / part / f'{name}_real.png': camera_noise(clean, rng)}
            if part == 'train':
                images[OUT / 'photos' / 'clean' / f'{name}.png'] = clean
            for path, image in images.items():
                if not path.exists():
                    write(path, image)


def run(title: str, module: str, *arguments: str) -> None:
    """Run a command of the package in OUT and show of its log what tells the progress; the log is kept."""
    print(f'\n== {title}\n   python -m {module} {" ".join(arguments)}', flush=True)
    log = OUT / f'{title.split(":")[0].replace(" ", "_").lower()}.log'
    with open(log, 'w', encoding='utf-8') as file:
        process = subprocess.Popen([sys.executable, '-W', 'ignore', '-m', module, *arguments], cwd=OUT, text=True,
                                   encoding='utf-8', errors='replace', stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            if re.search(r'\[eta: |# psnr|error: |images: \d', line):
                # without date and name of the experiment
                print('   ' + re.sub(r'^.* INFO: \[.*?\]\[epoch: *\d+, ', '', line.strip()), flush=True)
    if process.wait():
        sys.exit(f'{title} failed; see {log}')


def compare() -> None:
    """Print the table before / after and write one picture that shows the same."""
    with open(OUT / 'results/demo_test/demo.csv') as file:
        rows = list(csv.DictReader(file))
    last = max(int(key.removeprefix('psnr_step')) for key in rows[0] if key.startswith('psnr_step'))
    columns = {'noisy': 'noisy', 'before': 'before', 'after': f'step{last}'}
    print(f'\n{"PSNR / SSIM":<12}' + ''.join(f'{kind:>18}' for kind in columns) + f'{"gain":>10}{"seconds":>10}')
    for row in sorted(rows, key=lambda row: row['image']):
        figures = [f'{float(row[f"psnr_{c}"]):.2f} / {float(row[f"ssim_{c}"]):.4f}' for c in columns.values()]
        gain = float(row[f'psnr_step{last}']) - float(row['psnr_before'])
        print(f'{row["image"]:<12}' + ''.join(f'{f:>18}' for f in figures) +
              f'{gain:>+7.2f} dB{float(row["seconds"]):>10.2f}')

    labels = {kind: {row['image']: 'ground truth' if column is None else f'{kind} {float(row[f"psnr_{column}"]):.2f} dB'
                     for row in rows} for kind, column in {**columns, 'gt': None}.items()}
    folder = OUT / 'results/demo_test/visualization/demo'
    write_strips(OUT / 'comparison.png', [
        [(label[row['image']], read(folder / f'{row["image"]}_{kind}.png')) for kind, label in labels.items()]
        for row in sorted(rows, key=lambda row: row['image'])])


def read(path: Path) -> np.ndarray:
    """Return a picture as RGB uint8 (H, W, 3)."""
    image = cv2.imread(str(path))
    if image is None:
        raise UserError(f'{path} cannot be read')
    return image[..., ::-1]


def write_strips(path: Path, rows: list[list[tuple[str, np.ndarray]]]) -> None:
    """Write one picture: for every row the middle of some images, enlarged, each below its label."""
    strips = []
    for row in rows:
        panels = []
        for label, image in row:
            y, x = image.shape[0] // 2 - 64, image.shape[1] // 2 - 64
            panel = cv2.resize(image[y:y + 128, x:x + 128, ::-1], None, fx=2.5, fy=2.5, interpolation=cv2.INTER_NEAREST)
            bar = np.full((28, panel.shape[1], 3), 255, np.uint8)
            cv2.putText(bar, label, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (0, 0, 0), 1, cv2.LINE_AA)
            panels.append(np.vstack([bar, panel]))
        strips.append(np.hstack(panels))
    write(path, np.vstack(strips))


def interference(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return `image` with a pattern of electrical interference, and a little noise: neither network has seen it."""
    y, x = np.mgrid[:image.shape[0], :image.shape[1]]
    pattern = np.sin(2 * np.pi * (0.23 * x + 0.11 * y))
    noisy = image + 15 * pattern[..., None] + rng.normal(0, 4, image.shape)
    return noisy.clip(0, 255).round().astype(np.uint8)


def restore_unknown_noise() -> None:
    """Restore photographs with noise that no training had, un-adapted and adapted; print and show the gain."""
    trained = OUT / 'experiments/demo_stage2_mtl/models/net_g_latest.pth'
    networks = {'just trained': Restorer.from_options('denoise/test_fast.yml', str(trained)),
                'preset fast': Restorer.from_pretrained('fast')}
    print(f'\n== Noise that no training had: PSNR in dB\n{"":<12}{"":<16}{"noisy":>10}{"un-adapted":>12}{"adapted":>10}'
          f'{"gain":>10}')
    strips = []
    for name in TEST:
        clean = photograph(name)
        noisy = interference(clean, np.random.default_rng(0))
        for network, restorer in networks.items():
            results = {'noisy': noisy, 'un-adapted': restorer.run(noisy, steps=0).image,
                       'adapted': restorer.run(noisy).image}
            figures = {kind: calculate_psnr(image, clean, 0) for kind, image in results.items()}
            print(f'{name:<12}{network:<16}{figures["noisy"]:>10.2f}{figures["un-adapted"]:>12.2f}'
                  f'{figures["adapted"]:>10.2f}{figures["adapted"] - figures["un-adapted"]:>+7.2f} dB', flush=True)
        strips.append([*((f'{kind} {figures[kind]:.2f} dB', image) for kind, image in results.items()),
                       ('ground truth', clean)])
    write_strips(OUT / 'unknown_noise.png', strips)


def main() -> None:
    """Run the demonstration."""
    start = time.time()
    options = option_folder() / 'demo'
    check_name(OUT)
    check_folder(OUT)
    write_photographs()
    run('Prepare 1: clean photographs', 'maxl_sr.prepare', 'div2k', 'photos/clean', '-o', 'datasets/clean', '--lmdb',
        '--size', '240', '--step', '120')
    run('Prepare 2: training pairs', 'maxl_sr.prepare', 'nam', 'photos/train', '-o', 'datasets/train', '--lmdb',
        '--size', '240', '--step', '120')
    run('Prepare 3: test pairs', 'maxl_sr.prepare', 'nam', 'photos/test', '-o', 'datasets/test', '--lmdb')
    run('Stage 1: meta-auxiliary learning', 'maxl_sr.train', '-opt', str(options / 'stage1_maxl.yml'))
    run('Stage 2: meta-transfer learning', 'maxl_sr.train', '-opt', str(options / 'stage2_mtl.yml'))
    run('Meta-test: adapt to every image', 'maxl_sr.test', '-opt', str(options / 'test.yml'))
    compare()
    restore_unknown_noise()
    print(f'\n{time.time() - start:.0f} seconds. Pictures, scores of every step and logs are in {OUT}; '
          f'the comparisons are comparison.png and, of noise that no training had, unknown_noise.png')


if __name__ == '__main__':
    try:
        main()
    except (UserError, OSError) as error:
        sys.exit(f'error: {error}')
    except KeyboardInterrupt:
        print('stopped; the same command goes on where it was', file=sys.stderr)
        sys.exit(130)

"""Time, memory and sameness of large images: ``python scripts/benchmark/large.py``, about 15 minutes on two cores.

Every measurement is made in a process of its own, whose peak of memory counts; nothing else should run beside.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {'1 MP': (1000, 1000), '48 MP': (6000, 8000)}
PART = (3000, 4000)  # which fits into memory untiled, in 24 GiB


def photograph(height: int, width: int) -> np.ndarray:
    """Blocks with soft light and noise, ``(H, W, 3)`` uint8."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.random((-(-height // 40), -(-width // 40), 3), np.float32), np.ones((40, 40, 1), np.float32))
    image = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, 500):  # by rows: the photograph shall not take more memory than its restoration
        part = blocks[top:min(top + 500, height), :width] * 0.6 + 0.2
        image[top:top + 500] = ((part + rng.normal(0, 0.05, part.shape).astype(np.float32)).clip(0, 1) * 255).round()
    return image


def measure(image: Path, kind: str, out: Path, options: dict[str, Any]) -> None:
    """Restore an image and write the result and the figures below `out`."""
    from maxl_sr import Restorer
    restorer = Restorer.from_pretrained('fast')
    pixels = np.load(image)
    y = pixels if kind == 'uint8' else pixels.astype(np.float32) / 255
    restorer.run(pixels[:256, :256], steps=1)  # torch has made itself ready
    start = time.perf_counter()
    run = restorer.run(y, **options)
    seconds = time.perf_counter() - start
    np.save(out.with_suffix('.npy'), run.image)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20
    out.with_suffix('.json').write_text(json.dumps({
        'seconds': seconds, 'per_megapixel': seconds / (pixels.shape[0] * pixels.shape[1] / 1e6), 'peak_gib': peak,
        'losses': run.losses, 'steps': run.steps}))


def run(image: Path, kind: str, out: Path, **options: Any) -> dict[str, Any]:
    """Measure in a process of its own and return the figures."""
    process = multiprocessing.get_context('spawn').Process(target=measure, args=(image, kind, out, options))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f'{out.name}: the process ended with {process.exitcode}')
    return json.loads(out.with_suffix('.json').read_text())


def difference(one: Path, other: Path) -> str:
    """Return the largest difference of two results, and how many values are equal."""
    a, b = (np.load(path.with_suffix('.npy'), mmap_mode='r') for path in (one, other))
    largest, equal = 0.0, 0
    for top in range(0, a.shape[0], 500):
        parts = (a[top:top + 500].astype(np.float32), b[top:top + 500].astype(np.float32))
        largest = max(largest, float(np.abs(parts[0] - parts[1]).max()))
        equal += int((parts[0] == parts[1]).sum())
    return f'largest difference {largest:.2g}, {100 * equal / a.size:.4f} % equal'


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--steps', type=int, default=5)
    args = parser.parse_args()
    options = {'steps': args.steps, 'guard': False}
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        images = {name: at / f'{name}-in.npy' for name in (*SIZES, 'part')}
        for name, size in {**SIZES, 'part': PART}.items():
            np.save(images[name], photograph(*size))
        for name in SIZES:
            figures = run(images[name], 'uint8', at / name, **options)
            print(f"{name}: {figures['seconds']:.1f} s, {figures['per_megapixel']:.2f} s/MP, "
                  f"peak {figures['peak_gib']:.2f} GiB", flush=True)
        run(images['48 MP'], 'uint8', at / 'other', tile=512, **options)
        print(f"48 MP, tiles of 512 against those chosen: {difference(at / '48 MP', at / 'other')}", flush=True)
        for kind in ('uint8', 'float'):
            figures = run(images['part'], kind, at / f'whole-{kind}', tile=4096, **options)
            run(images['part'], kind, at / f'tiled-{kind}', **options)
            print(f"12 MP, {kind}, untiled (peak {figures['peak_gib']:.1f} GiB) against tiled: "
                  f"{difference(at / f'whole-{kind}', at / f'tiled-{kind}')}", flush=True)


if __name__ == '__main__':
    main()

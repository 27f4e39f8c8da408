"""The report of a run over files: a CSV file and an HTML page of before, after, mask and objective."""

import csv
import hashlib
import html
import io
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyvips

from maxl_sr.errors import UserError
from maxl_sr.meta.tiled import scaled
from maxl_sr.photo import Photo
from maxl_sr.restorer import Restoration, Restorer
from maxl_sr.utils.files import check_file, check_folder, check_name, real, remove_partial_files, replacing

SIDE = 512  # pixels of the input that are shown at their size
OVERVIEW = 240
FIELD = 2 ** 26  # characters of a field of the table at most

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222;
  background: #fafafa }
article { background: #fff; border: 1px solid #ddd; border-radius: 8px; padding: 1em 1.5em; margin: 1.5em 0 }
h2 { font-size: 1.1em; margin: 0 0 .5em; overflow-wrap: anywhere }
.parts { display: flex; flex-wrap: wrap; gap: 1.5em; align-items: flex-start }
figure { margin: 0; max-width: 100% }
figcaption, .figures { color: #666; font-size: .9em }
img { display: block; max-width: 100% }
.slider { display: grid; width: max-content; max-width: 100% }
.slider img { grid-area: 1 / 1 }
.slider .before { width: 100% }
.slider .after { clip-path: inset(0 0 0 var(--at, 50%)) }
.slider input { width: 100%; margin: .4em 0 0 }
svg { background: #fff; border: 1px solid #ddd }
"""


@dataclass(frozen=True)
class Row:
    """What is told of an image; a row of the CSV file."""

    image: str
    restored: str
    width: int  # of the input
    height: int
    steps: int  # kept
    taken: int
    seconds: float
    mask_mean: float | None
    objective: list[float]  # before every step taken
    pictures: str  # beginning of the names of its pictures


def curve(objective: list[float]) -> str:
    """Return the objective by step as a figure of HTML; nothing for less than two."""
    if len(objective) < 2:
        return ''
    low, high = min(objective), max(objective)
    across, up = 300 / (len(objective) - 1), 120 / (high - low or 1)
    points = ' '.join(f'{10 + across * step:.1f},{10 + up * (high - value):.1f}'
                      for step, value in enumerate(objective))
    return (f'<figure><svg viewBox="0 0 320 140" width="320" height="140" role="img" aria-label="objective by step">'
            f'<polyline points="{points}" fill="none" stroke="#2266bb" stroke-width="2"/></svg>'
            f'<figcaption>objective before each of {len(objective)} steps: {objective[0]:.3g} to {objective[-1]:.3g}'
            '</figcaption></figure>')


def outcome(steps: int, taken: int) -> str:
    """Say whether an image was adapted to: after how many steps the weights were kept, of those `taken`."""
    if not taken:
        return 'not adapted'
    return f'adapted, {steps} of {taken} steps kept' if steps else f'{taken} steps, none kept: not adapted'


def _article(row: Row) -> str:
    at = f'pictures/{quote(row.pictures)}'
    size, where = f'{row.width} × {row.height} pixels', html.escape(row.restored)
    mask = '' if row.mask_mean is None else (
        f'<figure><img src="{at}_mask.png" alt="mask"><figcaption>mask of the same part (white: trusted), of the whole '
        f'{row.mask_mean:.3f} on the mean</figcaption></figure>')
    return f'''<article>
<h2>{html.escape(row.image)}</h2>
<p class="figures">{size} · {outcome(row.steps, row.taken)} · {row.seconds:.1f} s · {where}</p>
<div class="parts">
<figure><label class="slider"><img class="before" src="{at}_before.png" alt="before">
<img class="after" src="{at}_after.png" alt="after">
<input type="range" min="0" max="100" value="50" aria-label="where after begins"
 oninput="this.parentNode.style.setProperty('--at', this.value + '%')"></label>
<figcaption>the middle: left before, right after</figcaption></figure>
{mask}
<figure><img src="{at}_overview.jpg" alt=""><figcaption>restored</figcaption></figure>
{curve(row.objective)}
</div>
</article>'''


def _page(rows: list[Row]) -> str:
    number = sum(row.width * row.height for row in rows) / 1e6
    return f'''<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>maxl-sr: {len(rows)} images</title><style>{STYLE}</style></head><body>
<h1>Restored photographs</h1>
<p>{len(rows)} image{'s' * (len(rows) != 1)}, {number:.1f} megapixels,
{sum(row.seconds for row in rows):.0f} s; adapted to {sum(row.steps > 0 for row in rows)}.
The figures are in <a href="report.csv">report.csv</a>.</p>
{"".join(map(_article, rows))}
</body></html>
'''


def _middle(height: int, width: int) -> tuple[slice, slice]:
    rows, columns = (slice((size - min(size, SIDE)) // 2, (size + min(size, SIDE)) // 2) for size in (height, width))
    return rows, columns


def _replace(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding='utf-8', newline='')


def _save(picture: pyvips.Image, path: Path) -> None:
    with replacing(path) as partial:
        picture.write_to_file(str(partial), keep='none')


class Report:
    """A folder of ``report.csv``, ``index.html`` and pictures, whole after every image; earlier runs' rows stay.

    Args:
        folder: Where; it is made with the first image.

    Raises:
        UserError: There is a file of that name, nothing can be written there, or a ``report.csv`` is none of ours.
    """

    def __init__(self, folder: Path) -> None:
        check_name(folder, '--report ')
        check_folder(folder, '--report ')
        remove_partial_files([folder, folder / 'pictures'])
        self.folder = folder
        self._table = folder / 'report.csv'
        self._rows: dict[str, Row] = {}
        if not self._table.exists():
            if os.path.lexists(folder / 'index.html'):
                raise UserError(f"--report: {folder / 'index.html'} would be written over, and there is no report.csv "
                                'beside it; name another folder')
            return
        check_file(self._table)
        csv.field_size_limit(FIELD)
        try:
            with open(self._table, encoding='utf-8', newline='') as file:
                reader = csv.DictReader(file)
                if reader.fieldnames != [field.name for field in fields(Row)]:
                    raise ValueError('other columns')
                for given in reader:
                    row = Row(given['image'], given['restored'], int(given['width']), int(given['height']),
                              int(given['steps']), int(given['taken']), float(given['seconds']),
                              float(given['mask_mean']) if given['mask_mean'] else None,
                              [float(value) for value in given['objective'].split()], given['pictures'])
                    self._rows[row.restored] = row
        except OSError as error:
            raise UserError(f'--report: cannot read {self._table}: {error.strerror}') from error
        except (KeyError, ValueError, AttributeError, TypeError, csv.Error) as error:
            raise UserError(f'--report: {self._table} is no report of maxl-sr; name another folder') from error

    def add(self, photo: Photo, done: Restoration, restorer: Restorer, source: Path, target: Path) -> None:
        """Add an image that was restored.

        Raises:
            UserError: The report cannot be written.
        """
        name = f'{source.stem[:40]}-{hashlib.sha256(os.fsencode(real(target))).hexdigest()[:8]}'
        mask = done.mask
        part = _middle(*photo.pixels.shape[:2])
        folder = self.folder / 'pictures'
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _save(photo.shown(photo.pixels[part]), folder / f'{name}_before.png')
            _save(photo.shown(done.image[scaled(part, restorer.scale)]), folder / f'{name}_after.png')
            _save(photo.shown(done.image).thumbnail_image(OVERVIEW), folder / f'{name}_overview.jpg')
            if mask is not None:
                _save(photo.shown_values(mask[part]), folder / f'{name}_mask.png')
            height, width = photo.pixels.shape[:2]
            self._rows[str(target)] = Row(str(source), str(target), width, height, done.steps, len(done.losses),
                                          done.seconds, None if mask is None else float(np.mean(mask)),
                                          done.losses, name)
            self._write()
        except (OSError, pyvips.Error) as error:
            raise UserError(f'cannot write the report {self.folder}: {" ".join(str(error).split())}') from error

    def _write(self) -> None:
        table = io.StringIO(newline='')
        writer = csv.DictWriter(table, [field.name for field in fields(Row)])
        writer.writeheader()
        for row in self._rows.values():
            writer.writerow({**asdict(row), 'objective': ' '.join(f'{value:.6g}' for value in row.objective)})
        _replace(self._table, table.getvalue())
        _replace(self.folder / 'index.html', _page(list(self._rows.values())))

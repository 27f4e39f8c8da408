"""Write docs/options.md, the reference of the option files, from docstrings, signatures and dataclasses."""

import argparse
import dataclasses
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import maxl_sr.data  # isort: skip  (first: it registers what is listed)
import yaml
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY, Registry

from maxl_sr.utils import options

PAGE = Path(__file__).resolve().parents[1] / 'docs/options.md'
INTRO = """# Options

Made from the code by `python scripts/options_reference.py`; changes belong there. Here are the keys that this package
adds, in the order of an option file; whole files are [at the end](#option-files). BasicSR's own
keys are not described. Needed as a rule: `name`, `num_gpu`, `scale`; of a data set `name`, `type` and for training
`batch_size_per_gpu`, `num_worker_per_gpu`; `path` with `pretrain_network_g`; `optim_g`, `scheduler`, `total_iter`;
`val_freq`, `save_img`, `metrics`; `logger`.

Write small numbers as `!!float 1e-3` or `0.001`: YAML reads `1e-3` as text. `[low, high]` is a range from which every
image draws. L_pri is the loss against the clean image, L_aux the objective without it, θ are the weights.
"""
FILES = """## Option files

`-opt` takes a path, or the name of one of these, from any folder:

| File | What |
|---|---|
| `options/demo/{stage1_maxl,stage2_mtl,test}.yml` | the demonstration |
| `options/cpu/stage1_maxl.yml` | stage 1: MAXL on clean photographs with synthetic noise, small |
| `options/cpu/stage1_real.yml` | in between: L_pri + L_aux on real pairs |
| `options/cpu/stage2_mtl.yml` | stage 2: meta-transfer learning on real pairs, small |
| `options/cpu/test_real.yml` | test on CC15, PolyU crops and SIDD crops |
| `options/cpu/{baseline,test}_{ridnet,mirnet}.yml` | baselines on the same pairs (a small MIRNet) |
| `options/cpu/{,test_}adaptive_ridnet.yml` | RIDNet with an auxiliary head, and its test with adaptation |
| `options/denoise/{fast_base,fast,fast_wide,fast_plain}.yml`, `{test,val}_fast.yml` | the preset `fast`, its comparison without meta-learning, its tests |
| `options/denoise/{best_base,best,test_best}.yml` | the preset `best`, trained and tested the same way |
| `options/denoise/{paper_stage1,paper_stage2,test_paper}.yml` | the preset `paper` on the same photographs |
| `options/sr/{,test_}{x2,x4,blind_x2}.yml` | super-resolution by 2 and 4, and by 2 with unknown blur |
| `options/sr/{,test_}{msrresnet,edsr}_{x2,x4}.yml` | their baselines on the same images |
| `options/sr/{,test_}{plain,edges}_msrresnet_x4.yml`, `gradient_edsr_x4.yml`, `edges_esrgan_x4.yml` | the losses in BasicSR's own models |
| `options/deblur/{,test_}{motion,motion_mtl,gopro}.yml` | deblurring, `_mtl` by meta-transfer learning |
| `options/paper/stage1_maxl.yml`, `stage2_mtl.yml` | both stages at the settings of the paper |
| `options/paper/test_nam_cc15.yml` | test at the settings of the paper on CC15 |
| `options/paper/{baseline,test}_{ridnet,mirnet}.yml` | RIDNet and MIRNet in full |
"""  # noqa: E501
NAMES = {int: 'integer', float: 'number', bool: 'true or false', tuple[float, float]: '[low, high]',
         dict[str, Any]: 'section', Sequence[dict[str, Any]]: 'list of sections', Sequence[str]: 'list of names'}


def ours(registry: Registry) -> list[type]:
    """Return the classes of this package in `registry`, by name."""
    return [cls for _, cls in sorted(registry) if cls.__module__.startswith('maxl_sr')]


def sections() -> dict[type, str]:
    """Return the dataclasses that option files are parsed into, in the order of their places, and these."""
    names = [f'maxl_sr.data.{module.name}' for module in pkgutil.iter_modules(maxl_sr.data.__path__)]
    found = {cls: summary(cls)[0].strip('`') for name in (*names, options.__name__)
             for cls in vars(importlib.import_module(name)).values()
             if isinstance(cls, type) and dataclasses.is_dataclass(cls) and cls.__module__ == name}
    return dict(sorted(found.items(), key=lambda item: item[1].partition('`')[0]))


def summary(cls: type) -> tuple[str, str]:
    """Return the heading of a class and its first paragraph; of a dataclass the heading is its place in the file."""
    text = ' '.join(inspect.cleandoc(cls.__doc__ or '').split('\n\n')[0].split())
    if not dataclasses.is_dataclass(cls):
        return f'``{cls.__name__}``', text
    match = re.fullmatch(r'((?:``[^`]*``|:class:`[^`]*`|[^:`])+): (.*)', text)
    assert match is not None, f'{cls.__name__}: the docstring must begin with the place in the option file'
    return match[1], match[2][0].upper() + match[2][1:]


def entries(cls: type, part: str) -> dict[str, str]:
    """Return the entries of the section `part` in the docstrings of `cls` and its bases, text by key, each one line."""
    found: dict[str, str] = {}
    for base in reversed([base for base in cls.__mro__ if base.__module__.startswith('maxl_sr')]):
        _, _, text = inspect.cleandoc(base.__doc__ or '').partition(f'\n{part}:\n')
        for entry in re.findall(r'^ {4}(\S.*(?:\n {8}.*)*)', re.split(r'\n(?=\S)', text)[0], re.MULTILINE):
            match = re.match(r'(.*? \(.*?\)): (.*)' if part == 'Options' else r'(\w+): (.*)', ' '.join(entry.split()))
            assert match is not None, f'{base.__name__}: {part}: cannot read {entry!r}'
            found[match[1]] = match[2]
    return found


def shown(hint: Any) -> str:
    """Return a type as the page names it."""
    if get_origin(hint) is Literal:
        return ', '.join(f'`{value}`' for value in get_args(hint))
    if type(None) in get_args(hint):
        return ' or '.join([*(shown(kind) for kind in get_args(hint) if kind is not type(None)), 'null'])
    return NAMES[hint]


def rows(cls: type) -> list[tuple[str, ...]]:
    """Return key, type, default and meaning of all that a registered class or a dataclass is given."""
    table: list[tuple[str, ...]] = []
    for head, meaning in entries(cls, 'Options').items():  # key (type, default): meaning
        key, kind, value = re.findall(r'(.*) \((.*?), (.*)\)', head)[0]
        table.append((key, kind, value if value.startswith(('required', 'none')) else f'``{value}``', meaning))
    fields = getattr(cls, '__dataclass_fields__', {})
    described = entries(cls, 'Attributes' if fields else 'Args')
    for name, parameter in inspect.signature(cls).parameters.items():
        if name == 'opt':  # a section, whose keys are under Options
            continue
        assert name in described, f'{cls.__name__}: {name} has no description'
        limit = fields[name].metadata if fields else {}
        signs = {'low': '>' if limit.get('strict') else '≥', 'high': '≤', 'below': '<'}
        limits = [f'{sign} {limit[key]}' for key, sign in signs.items() if key in limit]
        value = getattr(cls(), name) if fields else parameter.default  # of a default_factory there is but a marker
        text = 'required'
        if value is not parameter.empty:
            dumped = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
            text = '``' + dumped.removesuffix('...\n').strip("'\n") + '``'
        table.append((name, ', '.join([shown(parameter.annotation), *limits]), text, described[name]))
    return table


def page() -> str:
    """Return the whole page."""
    losses, places = ours(LOSS_REGISTRY), sections()
    chapters = {
        'model_type': ours(MODEL_REGISTRY),
        'datasets': [*ours(DATASET_REGISTRY), *(cls for cls in places if cls.__module__ != options.__name__)],
        'network_g, network_m': ours(ARCH_REGISTRY),
        'train': [cls for cls, place in places.items() if place.startswith('train')],
        'train: aux_opt, the inner objectives': [cls for cls in losses if hasattr(cls, 'prepare')],
        'train: pixel_opt, mask_opt, the other losses': [cls for cls in losses if not hasattr(cls, 'prepare')],
        'val': [cls for cls, place in places.items() if place.startswith('val')]}
    headings: dict[str, str] = {}

    def linked(heading: str) -> str:
        return f'[{heading}](#{re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")})'

    def markdown(text: str) -> str:
        def role(match: re.Match[str]) -> str:
            heading = headings.get(name := re.split(r'[.~]', match[1])[-1])
            return f'``{name}``' if heading is None else linked(heading)

        text = re.sub(r':\w+:`([^`]*)`', role, text)
        return re.sub(r"(?<!\w)'(\w+)'", r'`\1`', text).replace('``', '`')

    headings |= {cls.__name__: markdown(summary(cls)[0]) for classes in chapters.values() for cls in classes}
    contents, body = [], []
    for chapter, classes in chapters.items():
        contents.append(f' - {linked(chapter)}')
        body.append(f'## {chapter}')
        for cls, heading in ((cls, headings[cls.__name__]) for cls in classes):
            contents.append(f'   - {linked(heading)}')
            cells = [(f'`{key}`', kind, *map(markdown, rest)) for key, kind, *rest in rows(cls)]
            table = [('Key', 'Type or choices', 'Default', 'Meaning'), ('---', ) * 4, *cells]
            body += [f'### {heading}', markdown(summary(cls)[1]),
                     '\n'.join('| ' + ' | '.join(cell.replace('|', '\\|') for cell in row) + ' |' for row in table)]
    return '\n\n'.join([INTRO.strip(), '\n'.join(contents), *body, FILES.strip()]) + '\n'


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Write docs/options.md from the code.')
    parser.add_argument('--check', action='store_true', help='exit with 1 where the page is out of date')
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding='utf-8')
    elif not PAGE.is_file() or PAGE.read_text(encoding='utf-8') != page():
        sys.exit(f'error: {PAGE} is out of date: python scripts/options_reference.py')

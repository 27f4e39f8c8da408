"""Write docs/options.md, the reference of the option files, and their JSON Schema, from the models and docstrings."""

import argparse
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import maxl_sr.data  # isort: skip  (first: it registers what is listed)
import yaml
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, MODEL_REGISTRY, Registry
from pydantic.fields import FieldInfo

from maxl_sr.data import sections as data_sections
from maxl_sr.schema import NAME, generate
from maxl_sr.schema.option_file import Adaptive
from maxl_sr.settings import adaptation, training
from maxl_sr.settings.docstrings import described, summary
from maxl_sr.settings.section import Section
from maxl_sr.settings.types import Needed

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs/options.md'
SCHEMA = ROOT / 'options' / NAME
INTRO = """# Options

Made from the code by `python scripts/options_reference.py`; changes belong there. Here are the keys that this package
adds, in the order of an option file; whole files are [at the end](#option-files). BasicSR's own
keys are not described. Needed as a rule: `name`, `num_gpu`, `scale`; of a data set `name`, `type` and for training
`batch_size_per_gpu`, `num_worker_per_gpu`; `path` with `pretrain_network_g`; `optim_g`, `scheduler`, `total_iter`;
`val_freq`, `save_img`, `metrics`; `logger`.

Write small numbers as `!!float 1e-3` or `0.001`: YAML reads `1e-3` as text, which the keys of this package alone take
for a number. `[low, high]` is a range from which every image draws. L_pri is the loss against the clean image, L_aux
the objective without it, θ are the weights.

The first line of each option file names a JSON Schema, by which an editor completes keys, shows these texts and marks
mistakes (Visual Studio Code with the YAML extension, or any other with yaml-language-server). For option files of your
own write it beside them, `maxl-sr schema > options.schema.json`, and name it in their first line:
`# yaml-language-server: $schema=options.schema.json`. Classes of a plug-in's own are taken, but not described.
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
| `options/denoise/{test_gaussian,test_foreign,val_guard}.yml` | `fast` on Gaussian noise, on kinds of noise that no training had, and the images for choosing the guard |
| `options/denoise/{best_base,best,best_wide,test_best}.yml` | the preset `best` (`best_wide`, from `fast` made wider) and the one before, trained and tested the same way |
| `options/denoise/{paper_stage1,paper_stage2,test_paper}.yml` | the preset `paper` on the same photographs |
| `options/sr/{,test_}{x2,x4,blind_x2}.yml` | super-resolution by 2 and 4, and by 2 with unknown blur |
| `options/sr/{,test_}{msrresnet,edsr}_{x2,x4}.yml` | their baselines on the same images |
| `options/sr/{,test_}{plain,edges}_msrresnet_x4.yml`, `gradient_edsr_x4.yml`, `edges_esrgan_x4.yml` | the losses in BasicSR's own models |
| `options/deblur/{,test_}{motion,motion_mtl,gopro}.yml` | deblurring, `_mtl` by meta-transfer learning |
| `options/paper/stage1_maxl.yml`, `stage2_mtl.yml` | both stages at the settings of the paper |
| `options/paper/test_nam.yml`, `test_nam_adam.yml` | test at the settings of the paper on Nam and CC15, by plain gradient steps and by Adam |
| `options/paper/{baseline,test}_{ridnet,mirnet}.yml` | RIDNet and MIRNet in full |
"""  # noqa: E501
NAMES = {int: 'integer', float: 'number', bool: 'true or false', str: 'text', dict: 'section'}
LIMITS = {'gt': '>', 'ge': '≥', 'le': '≤', 'lt': '<'}
# The models of the keys that a class reads from its section of the option file, each with its place
READ: dict[str, list[tuple[str, type[Section], tuple[str, ...]]]] = {
    'SyntheticNoiseDataset': [('', data_sections.SyntheticNoiseOwn, ())],
    'SyntheticDegradationDataset': [('', data_sections.SyntheticDegradationOwn, ())],
    'MixedPairedDataset': [('', data_sections.Sets, ()), ('', data_sections.Pairs, ()), ('', data_sections.Crop, ())],
}
for model, own in (('MAXLModel', training.MAXLOwn), ('MetaTransferModel', training.MetaTransferOwn)):
    READ[model] = [('', Adaptive, ('network_m', )), ('path: ', training.MaskPath, ()),
                   ('train: ', training.Losses, ()), ('train: ', own, ()), ('val: ', training.AdaptiveOwn, ())]


def ours(registry: Registry) -> list[type]:
    """Return the classes of this package in `registry`, by name."""
    return list(generate.ours(registry).values())


def sections() -> dict[type, str]:
    """Return the sections that have a heading of their own, in the order of their places, and these."""
    modules = [f'maxl_sr.data.{module.name}' for module in pkgutil.iter_modules(maxl_sr.data.__path__)]
    found = {cls: heading(cls)[0].strip('`')
             for name in (*modules, adaptation.__name__) if name != data_sections.__name__
             for cls in vars(importlib.import_module(name)).values()
             if isinstance(cls, type) and issubclass(cls, Section) and cls.__module__ == name}
    return dict(sorted(found.items(), key=lambda item: item[1].partition('`')[0]))


def heading(cls: type) -> tuple[str, str]:
    """Return the heading of a class and its first paragraph; of a section the heading is its place in the file."""
    text = summary(cls)
    if not issubclass(cls, Section):
        return f'``{cls.__name__}``', text
    match = re.fullmatch(r'((?:``[^`]*``|:class:`[^`]*`|[^:`])+): (.*)', text)
    assert match is not None, f'{cls.__name__}: the docstring must begin with the place in the option file'
    return match[1], match[2][0].upper() + match[2][1:]


def shown(hint: Any) -> str:
    """Return a type as the page names it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return shown(arguments[0])
    if origin is Literal:
        return ', '.join(f'`{value}`' for value in arguments)
    if origin in (Union, UnionType):
        return ' or '.join([*(shown(kind) for kind in arguments if kind is not type(None)), 'null'])
    if origin is tuple:
        return '[low, high]'
    if origin in (list, Sequence):
        return f"list of {'names' if arguments[0] is str else shown(arguments[0]) + 's'}"
    return 'section' if isinstance(hint, type) and issubclass(hint, Section) else NAMES[origin or hint]


def limits(*parts: Any) -> Iterator[str]:
    """Yield the ends of the range of a type, from its annotation."""
    for part in parts:
        if isinstance(part, FieldInfo):
            yield from limits(*part.metadata)
        for key, sign in LIMITS.items():
            if hasattr(part, key):
                yield f'{sign} {getattr(part, key)}'
        yield from limits(*get_args(part)[:1 if get_origin(part) is tuple else None])


def value_text(value: Any) -> str:
    """Return a default as YAML."""
    plain = value.model_dump(exclude_unset=True) if isinstance(value, Section) else value
    plain = list(plain) if isinstance(plain, tuple) else plain
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000)
    return '``' + text.removesuffix('...\n').strip("'\n") + '``'


def entries(cls: type) -> Iterator[tuple[str, Any, Any, str]]:
    """Yield key, type with its limits, default and meaning of what a section holds or a constructor takes."""
    texts = described(cls, 'Attributes' if issubclass(cls, Section) else 'Args')
    if issubclass(cls, Section):
        for name, field in cls.model_fields.items():
            needed = [f'required {mark.when}'.strip() for mark in field.metadata if isinstance(mark, Needed)]
            default = 'required' if field.is_required() else value_text(field.get_default(call_default_factory=True))
            yield name, Annotated[(field.annotation, *field.metadata, None)], (needed or [default])[0], texts[name]
        return
    hints = get_type_hints(inspect.getattr_static(cls, '__init__'), include_extras=True)
    for name, parameter in inspect.signature(cls).parameters.items():
        assert name in texts, f'{cls.__name__}: {name} has no description'
        default = 'required' if parameter.default is parameter.empty else value_text(parameter.default)
        yield name, hints[name], default, texts[name]


def rows(cls: type) -> list[tuple[str, ...]]:
    """Return key, type, default and meaning of all that a registered class or a section is given."""
    table: list[tuple[str, ...]] = []
    for prefix, read, only in READ.get(cls.__name__, [('', cls, ())]):
        for name, hint, default, meaning in entries(read):
            if not only or name in only:
                table.append((prefix + name, ', '.join([shown(hint), *dict.fromkeys(limits(hint))]), default, meaning))
    return table


def page() -> str:
    """Return the whole page."""
    losses, places = ours(LOSS_REGISTRY), sections()
    chapters = {
        'model_type': ours(MODEL_REGISTRY),
        'datasets': [*ours(DATASET_REGISTRY), *(cls for cls in places if cls.__module__ != adaptation.__name__)],
        'network_g, network_m': ours(ARCH_REGISTRY),
        'train': [cls for cls, place in places.items() if place.startswith('train')],
        'train: aux_opt, the inner objectives': [cls for cls in losses if hasattr(cls, 'prepare')],
        'train: pixel_opt, mask_opt, the other losses': [cls for cls in losses if not hasattr(cls, 'prepare')],
        'val': [cls for cls, place in places.items() if place.startswith('val')]}
    headings: dict[str, str] = {}

    def linked(title: str) -> str:
        return f'[{title}](#{re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-")})'

    def markdown(text: str) -> str:
        def role(match: re.Match[str]) -> str:
            title = headings.get(name := re.split(r'[.~]', match[1])[-1])
            return f'``{name}``' if title is None else linked(title)

        text = re.sub(r':\w+:`([^`]*)`', role, text)
        return re.sub(r"(?<!\w)'(\w+)'", r'`\1`', text).replace('``', '`')

    headings |= {cls.__name__: markdown(heading(cls)[0]) for classes in chapters.values() for cls in classes}
    contents, body = [], []
    for chapter, classes in chapters.items():
        contents.append(f' - {linked(chapter)}')
        body.append(f'## {chapter}')
        for cls, title in ((cls, headings[cls.__name__]) for cls in classes):
            contents.append(f'   - {linked(title)}')
            cells = [(f'`{key}`', kind, *map(markdown, rest)) for key, kind, *rest in rows(cls)]
            table = [('Key', 'Type or choices', 'Default', 'Meaning'), ('---', ) * 4, *cells]
            body += [f'### {title}', markdown(heading(cls)[1]),
                     '\n'.join('| ' + ' | '.join(cell.replace('|', '\\|') for cell in row) + ' |' for row in table)]
    return '\n\n'.join([INTRO.strip(), '\n'.join(contents), *body, FILES.strip()]) + '\n'


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description='Write docs/options.md and the JSON Schema from the code.')
    parser.add_argument('--check', action='store_true', help='exit with 1 where one of them is out of date')
    check = parser.parse_args().check
    for path, text in ((PAGE, page()), (SCHEMA, generate.text())):
        if not check:
            path.write_text(text, encoding='utf-8')
        elif not path.is_file() or path.read_text(encoding='utf-8') != text:
            sys.exit(f'error: {path} is out of date: python scripts/options_reference.py')

"""The option file itself: read, changed as ``--force_yml`` says, and its outermost level checked."""

import os
from collections.abc import Sequence
from typing import Any

from maxl_sr.errors import UserError
from maxl_sr.settings.yaml_file import LARGEST, read_yaml

NAME_BYTES = 200  # file systems take 255; BasicSR puts _archived_ and the time behind
# Keys whose values BasicSR takes as text, whatever they look like
TEXT_KEYS = ('name', 'type', 'suffix', 'filename_tmpl', 'project', 'resume_id')
# Of this package's own sections, which read the text 'false' as false
OWN_FLAGS = ('cuda_graph', 'per_step', 'shuffle_channels')


def read_option_file(path: str, forced: Sequence[str] = ()) -> dict[str, Any]:
    """Return an option file after a look at its outermost level, which ``parse_options`` takes for granted.

    Args:
        path: The file.
        forced: What ``--force_yml`` changes in it, each ``section:key=value``; the value is YAML.

    Raises:
        UserError: It is no option file, or a section is missing or none, or something cannot be changed.
    """
    opt = read_yaml(_text(path), path)
    if not isinstance(opt, dict):
        raise UserError(f'{path} is no option file: it holds no sections')
    for entry in forced:
        _force(opt, entry)
    for key, kind in {'name': str, 'model_type': str, 'num_gpu': object, 'datasets': dict, 'path': dict}.items():
        if key not in opt:
            raise UserError(f"{path}: key '{key}' is missing")
        if not isinstance(opt[key], kind):
            raise UserError(f'{path}: {key} cannot be {opt[key]!r}')
    for key in ('train', 'val', 'logger', 'dist_params'):
        if not isinstance(opt.get(key), (dict, type(None))):
            raise UserError(f'{path}: {key} must be a section, not {opt[key]!r}')
    _check_values(path, opt)
    check_name(f'{path}: name', opt['name'])
    seed = opt.get('manual_seed')
    # NumPy takes 32 bits, and every process adds its rank
    if seed is not None and (type(seed) is not int or not 0 <= seed < 2**31):
        raise UserError(f'{path}: manual_seed must be an integer from 0 to {2**31 - 1}, not {seed!r}')
    for key, value in opt['path'].items():
        if ('resume_state' in key or 'pretrain_network' in key) and not isinstance(value, (str, type(None))):
            raise UserError(f'{path}: path: {key} must be a path, not {value!r}')
    if opt['num_gpu'] != 'auto' and (type(opt['num_gpu']) is not int or opt['num_gpu'] < 0):
        raise UserError(f"{path}: num_gpu must be a number of GPUs or auto, not {opt['num_gpu']!r}")
    if 'scale' in opt and (type(opt['scale']) is not int or opt['scale'] < 1):
        raise UserError(f"{path}: scale must be an integer of at least 1, not {opt['scale']!r}")
    for name, section in opt['datasets'].items():
        if not isinstance(section, dict):
            raise UserError(f'{path}: datasets: {name} must be a section, not {section!r}')
        for root in ('dataroot_gt', 'dataroot_lq'):
            if not isinstance(section.get(root, ''), (str, type(None))):
                raise UserError(f'{path}: datasets: {name}: {root} must be a path, not {section[root]!r}')
    return opt


def check_name(where: str, name: Any) -> None:
    """Refuse a `name` that is not one part of a path: BasicSR makes, and renames, a folder of that name."""
    if not isinstance(name, str):
        raise UserError(f'{where} must be text, not {name!r}')
    if not name.strip() or name in ('.', '..') or any(part in name for part in '/\\') or not name.isprintable():
        raise UserError(f'{where} must be the name of one folder, without a slash, not {name!r}')
    if len(os.fsencode(name)) > NAME_BYTES:
        raise UserError(f'{where} is longer than {NAME_BYTES} bytes: {name[:40]}…')


def _text(path: str) -> str:
    try:
        with open(path, 'rb') as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise UserError(f'-opt: cannot read {path}: {error.strerror}') from error
    if len(content) > LARGEST:
        raise UserError(f'{path} is no option file: it is larger than {LARGEST >> 20} MiB')
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(f'{path} is not valid YAML: {error}') from error


def _force(opt: dict[str, Any], entry: str) -> None:
    """Change `opt` as one argument of ``--force_yml`` says; nothing of it is evaluated."""
    where = f'--force_yml {entry}'
    left, equals, text = entry.partition('=')
    keys = [key.strip() for key in left.split(':')]
    if not equals or not all(keys):
        raise UserError(f'{where}: must be section:key=value')
    section: Any = opt
    for key in keys[:-1]:
        if not isinstance(section, dict) or key not in section:
            raise UserError(f"{where}: the option file has no section '{key}' there")
        section = section[key]
    if not isinstance(section, dict):
        raise UserError(f"{where}: {':'.join(keys[:-1])} is no section")
    section[keys[-1]] = _value(text.strip(), where)


def _value(text: str, where: str) -> Any:
    if text.lower() in ('none', 'true', 'false'):  # in any case, as BasicSR
        return {'none': None, 'true': True, 'false': False}[text.lower()]
    if os.fsencode(text) != text.encode('utf-8', 'replace'):  # a file name that is no UTF-8, which YAML cannot hold
        return text
    value = read_yaml(text, where)
    # Text as it was typed: YAML would take ' #…' for a comment
    return text if isinstance(value, str) and text[0] not in '\'"!|>' else value


def _check_values(where: str, value: Any, key: str = '') -> None:
    """Refuse 'true' and 'false' as text, either of which BasicSR takes for true, and integers beyond 64 bits."""
    if isinstance(value, dict):
        for name, item in value.items():
            _check_values(f'{where}: {name}', item, name)
    elif isinstance(value, list):
        for item in value:
            _check_values(where, item)
    elif isinstance(value, int) and not -2**63 <= value < 2**63:
        raise UserError(f'{where}: an integer of {len(str(abs(value)))} digits is too large')
    elif isinstance(value, str) and key not in (*TEXT_KEYS, *OWN_FLAGS) and value.strip().lower() in ('true', 'false'):
        raise UserError(f'{where} is the text {value!r}; write {value.strip().lower()} without quotes')

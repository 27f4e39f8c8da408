"""What the command lines share: where option files are looked for, the check beforehand, and how mistakes are told."""

import argparse
import functools
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

from maxl_sr.errors import UserError
from maxl_sr.preflight import preflight, read_option_file
from maxl_sr.utils.packaged import find_option_file, find_weights


def _checked(parse_options: Callable[..., Any]) -> Callable[..., Any]:
    def parse(*args: Any, **kwargs: Any) -> Any:
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        finder.add_argument('-opt')
        known, others = finder.parse_known_args()
        if known.opt is not None:  # otherwise BasicSR's parser says that it is missing
            known.opt = find_option_file(known.opt)
            read_option_file(known.opt)
            sys.argv[1:] = ['-opt', known.opt, *others]
        try:
            opt, options = parse_options(*args, **kwargs)
        except (KeyError, ValueError, TypeError, NameError, SyntaxError) as error:
            if '--force_yml' in sys.argv:
                raise UserError('--force_yml: cannot set what was asked for (section:key=value, both of them in the '
                                f'option file): {error}') from error
            if isinstance(error, KeyError):
                raise UserError(f'{known.opt}: key {error} is missing') from error
            raise
        for key, path in opt['path'].items():
            if key.startswith('pretrain_network') and isinstance(path, str):
                opt['path'][key] = find_weights(path)
        preflight(opt)
        return opt, options

    @functools.wraps(parse_options)
    def tell_once(*args: Any, **kwargs: Any) -> Any:
        try:
            return parse(*args, **kwargs)
        except UserError:
            if os.environ.get('RANK', '0') != '0':  # every process finds the same mistake, the first one tells it
                sys.exit(2)
            raise

    return tell_once


def run(module: ModuleType, pipeline: str) -> int:
    """Run ``module.pipeline`` of BasicSR in the current folder and return the exit code: 2 for a user's mistake."""
    try:
        with mock.patch.object(module, 'parse_options', _checked(module.parse_options)):
            getattr(module, pipeline)(os.getcwd())
    except UserError as error:
        # What a data loader's worker raises comes with the worker's traceback in front
        sentence = str(error).strip().splitlines()[-1].removeprefix('maxl_sr.errors.UserError: ')
        print(f'error: {sentence}', file=sys.stderr)
        return 2
    return 0

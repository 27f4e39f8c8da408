"""BasicSR's two pipelines, in a command and in a plain script alike: the option file, the check, how mistakes are told.

``parse_options`` and the two pipelines of BasicSR are replaced when the package is imported.
"""

import argparse
import functools
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import basicsr.test as basicsr_test
import basicsr.train as basicsr_train
import basicsr.utils.options as basicsr_options
import torch

from maxl_sr import policy
from maxl_sr.adaptation import checkpoint
from maxl_sr.compat import without_compiler
from maxl_sr.errors import UserError
from maxl_sr.preflight import preflight
from maxl_sr.settings.option_file import read_option_file
from maxl_sr.startup import INTERRUPTED
from maxl_sr.toolbox.models import last_good
from maxl_sr.toolbox.seams import argv_of_basicsr, replace_everywhere
from maxl_sr.utils.files import clear_away
from maxl_sr.utils.lock import locked
from maxl_sr.utils.memory import is_out_of_memory
from maxl_sr.utils.packaged import find_option_file, find_weights

# What torch says where the machine, not the program, is at fault
PEERS = ('Connection closed by peer', 'Connection reset by peer', 'Socket Timeout', 'Timed out waiting',
         'Broken pipe', 'failed to recv', 'Connection was likely closed', 'Application timeout caused pair closure')


class _Run:
    """What is known of the pipeline that is running: its options, and the lock of its folder.

    Args:
        arguments: Those of the command; None: a plain script, whose arguments are the process's.
    """

    def __init__(self, arguments: Sequence[str] | None = None) -> None:
        self.arguments = arguments
        self.opt: dict[str, Any] | None = None
        self.held = ExitStack()


_run: _Run | None = None  # while a pipeline runs, and its failures are told
_held = ExitStack()  # the lock of a script whose pipeline is not one of BasicSR's: until the process ends


class _OptionLoader:
    """Stands in for the YAML loader of ``parse_options``: gives the options that were read and checked before."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt = opt

    def __call__(self, stream: Any) -> '_OptionLoader':
        return self

    def get_single_data(self) -> dict[str, Any]:
        return self.opt

    def dispose(self) -> None:
        pass


def _parse(parse_options: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    finder = argparse.ArgumentParser(add_help=False)
    finder.add_argument('-opt')
    finder.add_argument('--force_yml', nargs='+', default=[])
    known, others = finder.parse_known_args(None if _run is None else _run.arguments)
    if known.opt is None:  # BasicSR's parser says that it is missing, or prints its help
        return parse_options(*args, **kwargs)
    path = find_option_file(known.opt)
    # BasicSR evaluates what follows --force_yml: it does not see it
    options = read_option_file(path, known.force_yml)
    _check_launcher(' '.join(others))
    ordered_yaml = basicsr_options.ordered_yaml
    try:
        basicsr_options.ordered_yaml = lambda: (_OptionLoader(options), None)
        with argv_of_basicsr([*sys.argv[:1], f'-opt={path}', *others]):
            opt, arguments = parse_options(*args, **kwargs)
    except KeyError as error:
        raise UserError(f'{path}: key {error} is missing') from error
    finally:
        basicsr_options.ordered_yaml = ordered_yaml
    for key, value in opt['path'].items():
        if key.startswith('pretrain_network') and isinstance(value, str):
            opt['path'][key] = find_weights(value)
    checkpoint.keep()  # until the model is made, or everything has failed
    (_held if _run is None else _run.held).callback(checkpoint.forget)
    with without_compiler():
        preflight(opt)
    if opt['rank'] == 0:
        _take_folder(opt)
    return opt, arguments


def _check_launcher(arguments: str) -> None:
    started = {'RANK', 'WORLD_SIZE', 'MASTER_ADDR'} <= os.environ.keys()
    if re.search(r'--launcher[ =]pytorch', arguments) and not started:
        raise UserError('--launcher pytorch is for processes that torchrun has started: torchrun … -m maxl_sr.train …')
    if re.search(r'--launcher[ =]slurm', arguments):
        if not {'SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST'} <= os.environ.keys():
            raise UserError('--launcher slurm is for processes that srun has started: srun python -m maxl_sr.train …')
        if not torch.cuda.is_available():
            raise UserError('--launcher slurm needs GPUs; without them: srun torchrun … --launcher pytorch')


def _take_folder(opt: dict[str, Any]) -> None:
    """Lock the folder that the run will write, and clear away what killed runs have left in it."""
    folder = Path(opt['path']['experiments_root' if opt['is_train'] else 'results_root'])
    (_held if _run is None else _run.held).enter_context(locked(folder))
    clear_away(folder)


def _told(function: Callable[..., Any], *args: Any, arguments: Sequence[str] | None = None) -> int:
    """Call a pipeline and return the exit code; what it fails of is told by the policy of all commands."""
    global _run
    _run = run = _Run(arguments)

    def work() -> int:
        with run.held:
            function(*args)
        return 0

    def means(error: Exception) -> policy.Meaning:
        sentence, code = _meaning(error)
        if sentence is not None:
            _log_cause(error)
        return sentence, code

    try:
        return policy.told(work, means, lambda: _how_to_go_on(run.opt))
    finally:
        _run = None


def _how_to_go_on(opt: dict[str, Any] | None) -> str:
    if opt is None or not opt['is_train']:
        return ''
    return f'{last_good(opt)}; the same command with --auto_resume goes on from there'


def _meaning(error: Exception) -> policy.Meaning:
    """Return what an error of a pipeline means: what it means in any command, and what option is to be changed."""
    if isinstance(error, UserError):
        return policy.meaning(error)
    text = str(error).strip()
    if is_out_of_memory(error):
        return 'there is not enough memory; a smaller batch_size_per_gpu, gt_size or center_crop needs less', 2
    if isinstance(error, RuntimeError) and 'DataLoader worker' in text:
        return 'a process that reads images was killed, perhaps for want of memory; a smaller num_worker_per_gpu ' \
               f'needs less: {text.splitlines()[0]}', 2
    if 'Too many open files' in text or 'unable to open shared memory' in text:
        return f'{" ".join(text.split())}; raise ulimit -n, or set a smaller num_worker_per_gpu', 2
    if isinstance(error, torch.distributed.DistError) or any(part in text for part in PEERS):
        return f'another process of this run has ended or cannot be reached: {text.splitlines()[0]}', 1
    return policy.meaning(error)


def _log_cause(error: BaseException) -> None:
    """Write the traceback to the log file of the run, for whoever looks for the cause in a network of their own."""
    logger = logging.getLogger('basicsr')
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(logger.makeRecord(logger.name, logging.ERROR, __file__, 0, 'The run has failed:', (),
                                             (type(error), error, error.__traceback__)))


def _checked(parse_options: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(parse_options)
    def parse(*args: Any, **kwargs: Any) -> Any:
        result: list[Any] = []

        def checked() -> None:
            result.append(_parse(parse_options, *args, **kwargs))

        if _run is None:
            code = _told(checked)
            if code:
                sys.exit(code)
            _serve_own_pipeline()
            return result[0]
        with policy.told_once():
            checked()
        _run.opt = result[0][0]
        return result[0]

    return parse


def _serve_own_pipeline() -> None:
    """Let a script with a copy of BasicSR's pipeline resume without a GPU, and end as the command lines end."""
    script: Any = sys.modules['__main__']
    if hasattr(script, 'load_resume_state') and not torch.cuda.is_available():
        script.load_resume_state = basicsr_train.load_resume_state
    original = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        if isinstance(error, KeyboardInterrupt):
            print('\ninterrupted', file=sys.stderr)
            raise SystemExit(INTERRUPTED)
        sentence, code = _meaning(error) if isinstance(error, Exception) else (None, 1)
        if sentence is None:
            original(kind, error, traceback)
            return
        print(f'error: {sentence}', file=sys.stderr)
        raise SystemExit(code)

    sys.excepthook = hook


def _telling(pipeline: Callable[[str], None]) -> Callable[[str], None]:
    """Let a pipeline end a plain script of BasicSR as the command lines end."""
    @functools.wraps(pipeline)
    def run_pipeline(root_path: str) -> None:
        if _run is not None:
            pipeline(root_path)
            return
        code = _told(pipeline, root_path)
        if code:
            sys.exit(code)

    return run_pipeline


def train(arguments: Sequence[str]) -> int:
    """Run BasicSR's training in the current folder with these arguments, and return the exit code."""
    return _told(basicsr_train.train_pipeline, os.getcwd(), arguments=arguments)


def test(arguments: Sequence[str]) -> int:
    """Run BasicSR's test in the current folder with these arguments, and return the exit code."""
    return _told(basicsr_test.test_pipeline, os.getcwd(), arguments=arguments)


replace_everywhere(basicsr_options.parse_options, _checked(basicsr_options.parse_options))
replace_everywhere(basicsr_train.train_pipeline, _telling(basicsr_train.train_pipeline))
replace_everywhere(basicsr_test.test_pipeline, _telling(basicsr_test.test_pipeline))

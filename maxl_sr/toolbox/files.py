"""Files that BasicSR writes: pictures, the log and the copy of the option file, whatever bytes a name is made of."""

import functools
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import basicsr.utils.img_util as img_util
import basicsr.utils.logger as basicsr_logger
import basicsr.utils.misc as basicsr_misc
import basicsr.utils.options as basicsr_options
import cv2
import numpy as np

from maxl_sr.errors import UserError
from maxl_sr.toolbox.seams import argv_of_basicsr, replace_everywhere
from maxl_sr.utils.files import replacing


def imwrite(img: np.ndarray, file_path: str, params: Any = None, auto_mkdir: bool = True) -> bool:
    """Write an image as BasicSR's ``imwrite``, whole or not at all; OpenCV, which takes UTF-8 alone, gets no name."""
    path = Path(file_path)
    try:
        if auto_mkdir:
            path.parent.mkdir(parents=True, exist_ok=True)
        done, content = cv2.imencode(path.suffix, img, params or [])
        if not done:
            raise UserError(f'cannot write {path}: OpenCV makes no {path.suffix} of it')
        with replacing(path) as partial:
            partial.write_bytes(content.tobytes())
    except OSError as error:
        raise UserError(f'cannot write {path}: {error.strerror}') from error
    return True


def _install_logger() -> None:
    original = basicsr_logger.get_root_logger

    @functools.wraps(original)
    def get_root_logger(*args: Any, **kwargs: Any) -> logging.Logger:
        logger: logging.Logger = original(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.FileHandler) and handler.stream is not None:
                handler.stream.reconfigure(errors='backslashreplace')  # names that are no text
        return logger

    replace_everywhere(original, get_root_logger)


def _install_copy() -> None:
    original = basicsr_options.copy_opt_file

    @functools.wraps(original)
    def copy_opt_file(opt_file: str, experiments_root: str) -> None:
        # It writes the command into the copy
        with argv_of_basicsr([os.fsencode(a).decode('utf-8', 'backslashreplace') for a in sys.argv]):
            original(opt_file, experiments_root)

    replace_everywhere(original, copy_opt_file)


def _install_archive() -> None:
    original = basicsr_misc.mkdir_and_rename

    @functools.wraps(original)
    def mkdir_and_rename(path: str) -> None:
        # The name of what is there already gets the time in seconds: a second run within one takes the next
        while os.path.exists(f'{path}_archived_{basicsr_misc.get_time_str()}'):
            time.sleep(0.1)
        original(path)

    replace_everywhere(original, mkdir_and_rename)


replace_everywhere(img_util.imwrite, imwrite)
_install_logger()
_install_copy()
_install_archive()

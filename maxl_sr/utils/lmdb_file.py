"""An LMDB that was opened is only read as far as its file goes."""

import os
from typing import Any

from maxl_sr.errors import UserError


def check_whole(environment: Any, root: str) -> None:
    """Close and refuse an LMDB whose file ends before its last page: reading there ends the process (SIGBUS)."""
    expected = (environment.info()['last_pgno'] + 1) * environment.stat()['psize']
    length = os.path.getsize(os.path.join(root, 'data.mdb'))
    if length < expected:
        environment.close()
        raise UserError(f'the LMDB {root} is cut: data.mdb has {length:,} of {expected:,} bytes')

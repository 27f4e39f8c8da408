"""What a page takes, and where it listens: checked before anything is loaded."""

import argparse
import contextlib
import ipaddress
import math
import socket
from dataclasses import dataclass

from maxl_sr.errors import UserError


@dataclass(frozen=True)
class Limits:
    """What the page takes.

    Attributes:
        megapixels: Largest image.
        file_size: Largest file in megabytes.
        queue: How many images may wait; more are refused.
        parallel: How many images are computed at a time.
        uploads: Megabytes that a visitor may have on the disk at a time.
    """

    megapixels: float = 24
    file_size: float = 100
    queue: int = 16
    parallel: int = 1
    uploads: float = 1000


def limits_of(args: argparse.Namespace) -> Limits:
    """Return the limits that the arguments of the command name, after a look at the address.

    Raises:
        UserError: A limit is out of range, or nothing can listen there.
    """
    for name in ('max_megapixels', 'max_file_size', 'max_uploads', 'queue', 'parallel'):
        value = getattr(args, name)
        if not 0 < value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} must be greater than 0, not {value}")
    if not 0 < args.port < 65536:
        raise UserError(f'--port must be from 1 to 65535, not {args.port}')
    if args.max_uploads < args.max_file_size:
        raise UserError(f'--max-uploads {args.max_uploads:g} must be at least --max-file-size {args.max_file_size:g}')
    with contextlib.suppress(ValueError):  # an IPv4 address in the clothes of IPv6 cannot be listened on
        args.host = str(getattr(ipaddress.ip_address(args.host), 'ipv4_mapped', None) or args.host)
    try:
        if '%' in args.host:  # the zone of an IPv6 address: no browser takes it
            raise OSError
        found = socket.getaddrinfo(args.host, args.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UserError(f'--host {args.host!r} is no address or name of this computer') from error
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
            probe.listen()
        except OSError as error:
            raise UserError(f'--host {args.host} --port {args.port}: cannot listen there: {error.strerror}') from error
    return Limits(args.max_megapixels, args.max_file_size, args.queue, args.parallel, args.max_uploads)

"""What a page takes, and where it listens: checked before anything is loaded."""

import argparse
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

    ``host`` becomes the address as browsers write it: 127.0.0.1 for 127.1.

    Raises:
        UserError: A limit is out of range, a name is none, or nothing can listen there.
    """
    for name in ('max_megapixels', 'max_file_size', 'max_uploads', 'queue', 'parallel'):
        value = getattr(args, name)
        if not 0 < value < math.inf:
            raise UserError(f"--{name.replace('_', '-')} must be greater than 0, not {value}")
    if not 0 < args.port < 65536:
        raise UserError(f'--port must be from 1 to 65535, not {args.port}')
    if args.max_uploads < args.max_file_size:
        raise UserError(f'--max-uploads {args.max_uploads:g} must be at least --max-file-size {args.max_file_size:g}')
    for name in args.allowed_host:
        if not name.strip() or any(part in name for part in ':/ '):
            raise UserError(f'--allowed-host {name!r} must be a name alone, without https:// and port')
    args.host = _host(args.host)
    _check_address(args.host, args.port)
    return Limits(args.max_megapixels, args.max_file_size, args.queue, args.parallel, args.max_uploads)


def _host(given: str) -> str:
    """Return an address in the spelling of browsers, whatever the system takes for one; a name as it is."""
    host = given[1:-1] if given.startswith('[') and given.endswith(']') else given  # as in the line of a browser
    try:
        if '%' in host:  # the zone of an IPv6 address: no browser takes it
            raise OSError
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        raise UserError(f'--host {given!r} is no address or name of this computer') from error
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return host.lower()
    address = ipaddress.ip_address(found[0][4][0])
    return str(getattr(address, 'ipv4_mapped', None) or address)


def _check_address(host: str, port: int) -> None:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        raise UserError(f'--host {host} --port {port}: cannot listen there: {error.strerror}') from error

"""What is done with a request before the page sees it."""

import ipaddress
import json
import socket
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maxl_sr.web.runs import Runs
from maxl_sr.web.sessions import Uploads

LOOPBACK = ('127.0.0.1', 'localhost', '::1')
# The browser asks this host alone, whatever a library that is a part of the page would have it do
POLICY = ("default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'; frame-ancestors 'self'; "
          "base-uri 'self'")
PORTS = {'http': 80, 'https': 443}
DRAINED = 2e9  # bytes of a refused upload that are read and thrown away, so that the browser reads the answer
SAFE = ('GET', 'HEAD', 'OPTIONS')


class Policy:
    """ASGI middleware: every answer comes with :data:`POLICY`, and the page's address is told to nobody."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        async def send_with_policy(message: Message) -> None:
            if message['type'] == 'http.response.start':
                message = {**message, 'headers': [*message['headers'], (b'content-security-policy', POLICY.encode()),
                                                  (b'referrer-policy', b'no-referrer')]}
            await send(message)

        await self._app(scope, receive, send_with_policy)


def _host(text: str) -> tuple[str | None, int | None]:
    try:
        parts = urlsplit(text)
        return parts.hostname, parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return None, None


def is_loopback(host: str) -> bool:
    """Return whether a page that listens on `host` is for this computer alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK


def known_names(host: str, more: list[str]) -> tuple[str, ...]:
    """Return the names under which a page that listens on `host` is asked; addresses are no names."""
    own = () if is_loopback(host) else (socket.gethostname().lower(), socket.getfqdn().lower())
    return (*LOOPBACK, host.lower(), *own, *(name.lower() for name in more))


class Door:
    """ASGI middleware: lets in what comes from the page itself, under its own name, within the limits.

    A page of somebody else, open in the same browser, must not upload to this one, nor read it under a name that
    leads here.

    Args:
        app: The page.
        names: Under which the page may be asked.
        addresses: Whether any address may be: names alone can be made to lead elsewhere.
        uploads: What the visitors have on the disk.
        runs: The computations.
    """

    def __init__(self, app: ASGIApp, names: tuple[str, ...], addresses: bool, uploads: Uploads, runs: Runs) -> None:
        self._app, self._names, self._addresses = app, names, addresses
        self._uploads, self._runs = uploads, runs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope['type'] not in ('http', 'websocket'):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope['type'] == 'websocket' or not self._is_ours(headers.get('host', '')):
            await self._refuse(scope, receive, send, 'this page goes by another name (--allowed-host)', 400)
            return
        method, path = scope['method'], scope['path'].rstrip('/')
        if method not in SAFE and self._is_foreign(headers, scope.get('scheme', 'http')):
            await self._refuse(scope, receive, send, 'this request comes from another page', 403)
        elif method == 'POST' and path.endswith('/upload'):
            await self._upload(scope, receive, send, headers)
        elif path.endswith('/queue/data'):
            session = parse_qs(scope['query_string'].decode('latin-1')).get('session_hash', [''])[0]
            self._runs.opened(session)
            try:
                await self._app(scope, receive, send)
            finally:
                self._runs.closed(session)
        else:
            await self._app(scope, receive, send)

    @staticmethod
    async def _refuse(scope: Scope, receive: Receive, send: Send, text: str, status: int) -> None:
        if scope['type'] == 'websocket':
            await send({'type': 'websocket.close', 'code': 1008})
            return
        await PlainTextResponse(text, status)(scope, receive, send)

    def _is_ours(self, host: str) -> bool:
        name, _ = _host(f'//{host}')
        if name is None:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._addresses

    @staticmethod
    def _is_foreign(headers: Headers, scheme: str) -> bool:
        origin = headers.get('origin')
        if origin is None:  # not of a browser, or of an old one
            return headers.get('sec-fetch-site', 'none') in ('cross-site', 'same-site')
        name, port = _host(origin)
        # Behind a proxy the scheme may be another on the way here
        return name is None or (name, port) not in [_host(f'{known}://{headers.get("host", "")}')
                                                    for known in {scheme, urlsplit(origin).scheme}]

    async def _upload(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        length = headers.get('content-length', '')
        if not length.isascii() or not length.isdigit() or len(length) > 15:
            await self._refuse(scope, receive, send, 'the length of the upload is missing', 411)
            return
        visitor, size = (scope.get('client') or ('', 0))[0], int(length)
        refused = self._uploads.begin(visitor, size)
        if refused is not None:
            more = size < DRAINED
            while more:
                message = await receive()
                more = message['type'] == 'http.request' and message.get('more_body', False)
            await self._refuse(scope, receive, send, refused, 413)
            return
        status, answer = 0, b''

        async def send_noted(message: Message) -> None:
            nonlocal status, answer
            if message['type'] == 'http.response.start':
                status = message['status']
            elif message['type'] == 'http.response.body' and len(answer) < 2 ** 20:
                answer += message.get('body', b'')
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except ClientDisconnect:
            pass
        finally:
            files = []
            if status == 200:
                try:
                    files = [Path(path) for path in json.loads(answer)]
                except (ValueError, TypeError):
                    pass
            self._uploads.end(visitor, size, files)

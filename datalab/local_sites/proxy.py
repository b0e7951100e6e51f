"""A CONNECT proxy: some hosts are answered on this machine, all others are passed on.

A client that is told of it by ``HTTPS_PROXY`` asks for a tunnel to a host (RFC 9110,
9.3.6) and then speaks TLS with whoever is at the other end; nothing is read or changed
on the way.
"""

import asyncio
import base64
import secrets
import ssl
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

CONNECT_SECONDS = 10.0
HEADER_SECONDS = 10.0
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Refused(Exception):
    """No tunnel; the text is for the user, who sees little more than the status line."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status


class Proxy:
    """What becomes of the tunnels that are asked for.

    Parameters
    ----------
    password
        Which a client gives as that of the user ``datalab``: other users of the machine
        have no business in the network of this one.
    local
        Ports of 127.0.0.1 by the name of the host that is answered there.
    upstream
        URL of the proxy that this machine itself goes through, if any.
    """

    def __init__(self, password: str, local: Mapping[str, int], upstream: str = "") -> None:
        self._expected = _basic("datalab", password)
        self._local = local
        self._upstream = upstream

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client, until either side closes."""
        try:
            try:
                far = await self._tunnel(reader)
            except Refused as refused:
                writer.write(_answer(refused))
                await writer.drain()
                return
            try:
                writer.write(ESTABLISHED)
                await asyncio.gather(_pipe(reader, far[1]), _pipe(far[0], writer))
            finally:
                far[1].close()
        except (OSError, EOFError, ssl.SSLError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the client left, or never spoke HTTP
        finally:
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader) -> Streams:
        async with asyncio.timeout(HEADER_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (s.partition(":") for s in lines)
        }
        if not secrets.compare_digest(headers.get("proxy-authorization", ""), self._expected):
            raise Refused(
                HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
                "this is the proxy of a datalab; its address with password is in HTTPS_PROXY",
            )
        method, _, rest = first.partition(" ")
        host, _, port = rest.partition(" ")[0].rpartition(":")
        if method != "CONNECT" or not port.isdigit():
            raise Refused(HTTPStatus.NOT_IMPLEMENTED, "the datalab's proxy is for https:// only")
        return await self._open(host.lower(), int(port))

    async def _open(self, host: str, port: int) -> Streams:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if host in self._local:
                    return await asyncio.open_connection("127.0.0.1", self._local[host])
                if self._upstream:
                    return await through(self._upstream, host, port)
                return await asyncio.open_connection(host, port)
        except TimeoutError:
            raise Refused(
                HTTPStatus.GATEWAY_TIMEOUT, f"no answer from {host}: no internet?"
            ) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise Refused(HTTPStatus.BAD_GATEWAY, f"cannot reach {host}: {reason}") from None


async def through(proxy: str, host: str, port: int) -> Streams:
    """Open a tunnel to ``host`` through another proxy, given by its URL.

    Raises
    ------
    OSError
        It cannot be reached, or refuses; its status line is the reason.
    """
    parts = urlsplit(proxy)
    tls = parts.scheme == "https"
    reader, writer = await asyncio.open_connection(
        parts.hostname, parts.port or (443 if tls else 80), ssl=tls or None
    )
    lines = [f"CONNECT {host}:{port} HTTP/1.1", f"Host: {host}:{port}"]
    if parts.username:
        given = _basic(unquote(parts.username), unquote(parts.password or ""))
        lines.append(f"Proxy-Authorization: {given}")
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b"\r\n")[0].decode("latin-1").partition(" ")[2]
        if not status.startswith("200"):
            raise ConnectionRefusedError(f"the proxy of this machine said {status}")
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        writer.close()
        if isinstance(error, OSError):
            raise
        raise ConnectionAbortedError("the proxy of this machine closed the connection") from error
    return reader, writer


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.close()  # which ends the other direction


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _answer(refused: Refused) -> bytes:
    # most clients show the status line only, so the text stands there, too
    text = str(refused).encode("ascii", "replace").decode()
    lines = [
        f"HTTP/1.1 {refused.status.value} {text}",
        "Content-Type: text/plain",
        f"Content-Length: {len(text) + 1}",
        "Connection: close",
    ]
    if refused.status is HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        lines.append('Proxy-Authenticate: Basic realm="datalab"')
    return ("\r\n".join(lines) + f"\r\n\r\n{text}\n").encode()

"""The client's way to a streaming URL: connect, and upgrade to a WebSocket."""

import asyncio
import ssl
import urllib.parse

import wsproto
from wsproto.connection import ConnectionState
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from vmsandbox.config import StreamingConfig
from vmsandbox.errors import FailedPrecondition, InvalidArgument, PermissionDenied, Unavailable
from vmsandbox.streaming.io import keep_alive

DIAL_TIMEOUT = 30.0
"""Seconds for connecting and for the answer."""
GONE = "the streaming server hung up"
_TEXT_LIMIT = 4096


def client_tls(config: StreamingConfig) -> ssl.SSLContext | None:
    """Return the TLS context for a client of this host, which trusts the server's own certificate and no other.

    The certificate's name is not checked: it is the configured file itself that is trusted.

    Raises:
        FailedPrecondition: it cannot be read.
    """
    if config.tls_certificate is None:
        return None
    try:
        context = ssl.create_default_context(cafile=str(config.tls_certificate))
    except OSError as error:
        raise FailedPrecondition(
            f"the certificate {config.tls_certificate} of the streaming server cannot be read: {error}",
            hint="look at `streaming` in config.yaml",
        ) from None
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


async def dial(
    url: str, versions: tuple[str, ...], tls: ssl.SSLContext | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    """Connect to a URL and agree on one of `versions`; the caller closes the writer.

    Args:
        url: as the CRI's Exec, Attach or PortForward gave it.
        versions: the subprotocols, the preferred one first.
        tls: for https; None trusts the system's certificates.

    Raises:
        InvalidArgument: the URL is not one of a streaming server.
        Unavailable: the server cannot be reached, or does not answer.
        PermissionDenied: it refuses; the evidence has its words.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgument(f"{url} is not the URL of a streaming server")
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    context = (tls or ssl.create_default_context()) if secure else None
    try:
        async with asyncio.timeout(DIAL_TIMEOUT):
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
            try:
                keep_alive(writer.get_extra_info("socket"))
                request = Request(host=parts.netloc, target=parts.path or "/", subprotocols=list(versions))
                return reader, writer, await _upgrade(reader, writer, request)
            except BaseException:
                writer.transport.abort()
                raise
    except TimeoutError:
        raise Unavailable(f"the streaming server does not answer within {DIAL_TIMEOUT:g} s") from None
    except OSError as error:
        raise Unavailable(f"the streaming server cannot be reached: {error}") from None


async def _upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: Request) -> str:
    handshake = H11Handshake(wsproto.ConnectionType.CLIENT)
    writer.write(handshake.send(request))
    refusal = ""
    while True:
        try:
            handshake.receive_data(await _head(reader, refused=bool(refusal)))
        except RemoteProtocolError as error:
            raise Unavailable(f"the answer of the streaming server is not HTTP: {error}") from None
        for event in handshake.events():
            match event:
                case AcceptConnection():
                    return event.subprotocol or ""
                case RejectConnection():
                    refusal = f"HTTP status {event.status_code}\n"
                case RejectData():
                    refusal = (refusal + event.data.decode("utf-8", "replace"))[:_TEXT_LIMIT]
        if reader.at_eof() or handshake.state is ConnectionState.CLOSED:
            raise _refused(refusal)


async def _head(reader: asyncio.StreamReader, *, refused: bool) -> bytes:
    """Read the answer's head and not a byte more (the next one is the WebSocket's), or the text of a refusal."""
    if refused:
        return await reader.read(_TEXT_LIMIT)
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError:
        raise Unavailable("the streaming server's answer has too large a head") from None


def _refused(text: str) -> Unavailable | PermissionDenied:
    if not text:
        return Unavailable(GONE)
    return PermissionDenied("the streaming server refuses", evidence={"answer": text})

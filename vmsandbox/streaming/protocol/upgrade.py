"""The HTTP/1.1 request with which a streaming connection begins, and its answer, without I/O (h11, wsproto).

A request is a POST or GET that asks for an upgrade: to SPDY/3.1, with the versions that the client speaks in
`X-Stream-Protocol-Version`, or (GET alone) to a WebSocket, with them in `Sec-WebSocket-Protocol`. One connection
carries one request; a refused one is answered and closed.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import h11
import wsproto
from wsproto.events import AcceptConnection
from wsproto.events import Request as WebSocketRequest
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

HEAD_LIMIT = 16 * 1024
"""Bytes that the head of a request may have."""

_SPDY = b"SPDY/3.1"
_VERSIONS = b"x-stream-protocol-version"

Headers = list[tuple[bytes, bytes]]


class Refusal(Exception):
    """The request is answered with an HTTP status, and the connection is closed."""

    def __init__(self, status: int, message: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """`message` is the body, for a person."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = tuple(headers)


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """The request of a client: the path of its URL, the transport and the versions."""

    path: str
    websocket: bool
    versions: tuple[str, ...]
    """In the order of the client's preference."""


class Handshake:
    """One request and its answer."""

    def __init__(self) -> None:
        """Wait for the request."""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._request: h11.Request | None = None
        self._websocket: H11Handshake | None = None

    def receive(self, data: bytes) -> UpgradeRequest | None:
        """Take bytes in; return the request when its head is complete.

        Raises:
            Refusal: the request is malformed, or asks for something else than an upgrade.
        """
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise Refusal(error.error_status_hint, f"malformed request: {error}") from None
        if not isinstance(event, h11.Request):
            if event is h11.NEED_DATA:
                return None
            raise Refusal(400, "the connection ended before the request")
        self._request = event
        self._check_no_body()
        return self._parse(event)

    @property
    def early(self) -> bytes:
        """The bytes that the client has sent behind its request."""
        return self._http.trailing_data[0]

    def accept(self, version: str) -> bytes:
        """Return the answer that agrees to the upgrade, and to a version (empty: the client named none)."""
        if self._websocket is not None:
            return bytes(self._websocket.send(AcceptConnection(subprotocol=version or None)))
        headers: Headers = [(b"Upgrade", _SPDY), (b"Connection", b"Upgrade")]
        headers.append((b"X-Stream-Protocol-Version", version.encode()))
        return (
            self._http.send(h11.InformationalResponse(status_code=101, headers=headers, reason=b"Switching Protocols"))
            or b""
        )

    def refuse(self, refusal: Refusal) -> bytes:
        """Return the answer that refuses the request."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return b""
        body = (refusal.message + "\n").encode()
        headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
        headers += [("Connection", "close"), *refusal.headers]
        response = h11.Response(status_code=refusal.status, headers=headers)
        events: list[h11.Event] = [response]
        if self._request is None or self._request.method != b"HEAD":
            events.append(h11.Data(data=body))
        return b"".join(self._http.send(event) or b"" for event in (*events, h11.EndOfMessage()))

    def _check_no_body(self) -> None:
        """Raise Refusal unless the request ends with its head, so that what follows is the new protocol."""
        try:
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise Refusal(error.error_status_hint, f"malformed request: {error}") from None
        if not isinstance(event, h11.EndOfMessage):
            raise Refusal(400, "a request for an upgrade must not have a body")

    def _parse(self, request: h11.Request) -> UpgradeRequest:
        if request.method not in (b"GET", b"POST"):
            raise Refusal(405, "use GET or POST", [("Allow", "GET, POST")])
        path = request.target.decode("ascii", "replace").partition("?")[0]
        upgrades = _tokens(request, b"upgrade")
        if "upgrade" not in _tokens(request, b"connection"):
            raise Refusal(400, "this is a streaming server: the request asks for no upgrade")
        if "websocket" in upgrades:
            return UpgradeRequest(path, True, self._parse_websocket(request))
        if _SPDY.decode().lower() in upgrades:
            return UpgradeRequest(path, False, _spdy_versions(request))
        raise Refusal(400, f"upgrade to SPDY/3.1 or websocket, not to {', '.join(upgrades) or 'nothing'}")

    def _parse_websocket(self, request: h11.Request) -> tuple[str, ...]:
        if request.method != b"GET":
            raise Refusal(405, "a WebSocket begins with GET", [("Allow", "GET")])
        self._websocket = H11Handshake(wsproto.ConnectionType.SERVER)
        try:
            self._websocket.initiate_upgrade_connection(list(request.headers), request.target)
            asked = next(self._websocket.events())
        except RemoteProtocolError as error:
            hint = error.event_hint
            status = getattr(hint, "status_code", 400)
            headers = [(name.decode(), value.decode()) for name, value in getattr(hint, "headers", ())]
            raise Refusal(status, f"malformed WebSocket request: {error}", headers) from None
        except (UnicodeError, h11.LocalProtocolError) as error:
            raise Refusal(400, f"malformed WebSocket request: {error}") from None
        assert isinstance(asked, WebSocketRequest)
        return tuple(asked.subprotocols)


def _tokens(request: h11.Request, name: bytes) -> list[str]:
    """The comma-separated values of a header, lower-case, from all of its lines."""
    values = b",".join(value for key, value in request.headers if key == name)
    return [token.strip().lower() for token in values.decode("latin-1").split(",") if token.strip()]


def _spdy_versions(request: h11.Request) -> tuple[str, ...]:
    versions = tuple(_tokens(request, _VERSIONS))
    if not versions:
        raise Refusal(400, "the request lacks X-Stream-Protocol-Version")
    return versions

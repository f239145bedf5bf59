"""The request of a streaming connection: every refusal is an HTTP answer, whatever the client sends."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.protocols import cuts, pieces_of
from vmsandbox.streaming.protocol.upgrade import HEAD_LIMIT, Handshake, Refusal, UpgradeRequest

KEY = base64.b64encode(b"0123456789abcdef").decode()


SPDY = {"Host": "h", "Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"}


WEBSOCKET = {
    "Host": "h",
    "Connection": "keep-alive, Upgrade",
    "Upgrade": "WebSocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Protocol": "v5.channel.k8s.io, v4.channel.k8s.io",
}


def request_of(headers: dict[str, str], method: str = "GET", path: str = "/exec/token") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def refusal_of(data: bytes) -> tuple[Refusal, bytes]:
    """The refusal that a request meets, and the answer on the wire."""
    handshake = Handshake()
    with pytest.raises(Refusal) as caught:
        assert handshake.receive(data) is None
        handshake.receive(b"")
    return caught.value, handshake.refuse(caught.value)


@given(cuts)
def test_a_request_for_spdy_is_understood_however_it_is_cut(where: list[int]) -> None:
    handshake = Handshake()
    answers = [handshake.receive(piece) for piece in pieces_of(request_of(SPDY, "POST"), where)]
    assert answers[-1] == UpgradeRequest("/exec/token", False, ("v4.channel.k8s.io",))
    assert handshake.accept("v4.channel.k8s.io").startswith(b"HTTP/1.1 101 ")


def test_a_request_for_a_websocket_is_answered_with_the_hash_of_its_key() -> None:
    handshake = Handshake()
    assert handshake.receive(request_of(WEBSOCKET)) == UpgradeRequest(
        "/exec/token", True, ("v5.channel.k8s.io", "v4.channel.k8s.io")
    )
    answer = handshake.accept("v5.channel.k8s.io").lower()
    assert b"sec-websocket-protocol: v5.channel.k8s.io" in answer
    assert b"sec-websocket-accept: " in answer


def test_what_follows_the_request_is_kept() -> None:
    handshake = Handshake()
    assert handshake.receive(request_of(SPDY, "POST") + b"early bytes") is not None
    handshake.accept("v4.channel.k8s.io")
    assert handshake.early == b"early bytes"


def test_versions_on_several_lines_are_one_list() -> None:
    lines = request_of(SPDY, "POST").replace(b"\r\n\r\n", b"\r\nX-Stream-Protocol-Version: v3.channel.k8s.io\r\n\r\n")
    asked = Handshake().receive(lines)
    assert asked is not None
    assert asked.versions == ("v4.channel.k8s.io", "v3.channel.k8s.io")


def without(headers: dict[str, str], name: str) -> dict[str, str]:
    return {key: value for key, value in headers.items() if key != name}


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01 TLS perhaps\r\n\r\n", 400),
        (request_of({"Host": "h"}), 400),
        (request_of(without(SPDY, "Connection")), 400),
        (request_of(SPDY | {"Upgrade": "h2c"}), 400),
        (request_of(without(SPDY, "X-Stream-Protocol-Version")), 400),
        (request_of(SPDY, "PUT"), 405),
        (request_of(WEBSOCKET, "POST"), 405),
        (request_of(without(WEBSOCKET, "Sec-WebSocket-Key")), 400),
        (request_of(without(WEBSOCKET, "Sec-WebSocket-Version")), 400),
        (request_of(WEBSOCKET | {"Sec-WebSocket-Version": "12"}), 426),
        (request_of(WEBSOCKET | {"Sec-WebSocket-Protocol": "v5\xff"}), 400),
        (request_of(SPDY | {"Content-Length": "5"}, "POST") + b"hello", 400),
        (request_of(SPDY | {"Content-Length": "five"}, "POST"), 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * HEAD_LIMIT, 431),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
    ],
)
def test_a_request_that_is_malformed_is_refused_with_its_status(data: bytes, status: int) -> None:
    refusal, answer = refusal_of(data)
    assert refusal.status == status
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in answer.lower()


def test_a_refused_version_of_websockets_is_told_the_right_one() -> None:
    _, answer = refusal_of(request_of(WEBSOCKET | {"Sec-WebSocket-Version": "12"}))
    assert b"sec-websocket-version: 13" in answer.lower()


@given(st.binary(max_size=300), cuts)
def test_garbage_is_refused_or_waited_for(data: bytes, where: list[int]) -> None:
    handshake = Handshake()
    try:
        for piece in [piece for piece in pieces_of(data, where) if piece]:
            assert handshake.receive(piece) is None
    except Refusal as refusal:
        assert handshake.refuse(refusal).startswith(b"HTTP/1.1 4")


@given(st.dictionaries(st.sampled_from([*WEBSOCKET, *SPDY]), st.text(st.characters(codec="latin-1"), max_size=20)))
def test_headers_of_any_content_are_refused_or_understood(headers: dict[str, str]) -> None:
    for known in (WEBSOCKET, SPDY):
        handshake = Handshake()
        try:
            handshake.receive(request_of(known | headers))
        except Refusal as refusal:
            handshake.refuse(refusal)

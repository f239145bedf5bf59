"""Recorded clients: what kubectl and python-kubernetes sent in whole sessions, and the events that it makes.

`*.client` holds every byte of a client from its request on; `*.events` what our protocols take from it, in any cut.
UPDATE_GOLDEN=1 writes the events anew.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.golden import assert_golden
from vmsandbox.model import AttachRequest, ExecRequest, PortForwardRequest
from vmsandbox.streaming.protocol.negotiation import agree_on_command, agree_on_ports
from vmsandbox.streaming.protocol.port_forward import PortForward, PortInput
from vmsandbox.streaming.protocol.remote_command import Input, RemoteCommand
from vmsandbox.streaming.protocol.upgrade import Handshake

GOLDEN = Path("tests/unit/golden/streaming")
_EXEC = ExecRequest("c", ("cat",), stdin=True, stdout=True, stderr=True)
_PORTS = PortForwardRequest("s", (18090,))

SESSIONS: dict[str, ExecRequest | AttachRequest | PortForwardRequest] = {
    "kubectl-exec-spdy": _EXEC,
    "kubectl-exec-tty-spdy": ExecRequest("c", ("sh",), stdin=True, stdout=True, tty=True),
    "kubectl-exec-websocket": _EXEC,
    "kubectl-portforward-spdy": _PORTS,
    "kubectl-portforward-tunnel": _PORTS,
    "python-exec-websocket": _EXEC,
    "python-portforward-channels": _PORTS,
}


def replay(name: str, cut: int) -> str:
    """The events of a recorded session whose bytes arrive in pieces of `cut`."""
    recorded = (Path(__file__).parents[2] / "golden/streaming" / f"{name}.client").read_bytes()
    pieces = [recorded[start : start + cut] for start in range(0, len(recorded), cut)]
    handshake, asked = Handshake(), None
    while asked is None:
        asked = handshake.receive(pieces.pop(0))
    request = SESSIONS[name]
    protocol: RemoteCommand | PortForward
    if isinstance(request, PortForwardRequest):
        version, protocol = agree_on_ports(asked, request)
    else:
        version, protocol = agree_on_command(asked, request)
    events: list[object] = []
    for piece in (handshake.early, *pieces):
        events += protocol.receive(piece)
        protocol.take_output()
    return "\n".join([f"version {version}", *map(repr, joined(events))]) + "\n"


def joined(events: list[object]) -> list[object]:
    """Pieces of input that follow each other, as one."""
    result: list[object] = []
    for event in events:
        last = result[-1] if result else None
        if isinstance(event, Input) and isinstance(last, Input):
            result[-1] = Input(last.data + event.data)
        elif isinstance(event, PortInput) and isinstance(last, PortInput) and event.number == last.number:
            result[-1] = PortInput(event.number, last.data + event.data)
        else:
            result.append(event)
    return result


@pytest.mark.parametrize("name", SESSIONS)
def test_a_recorded_session_makes_these_events(name: str) -> None:
    assert_golden(GOLDEN / f"{name}.events", replay(name, 1 << 20))


@pytest.mark.parametrize("name", SESSIONS)
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(min_value=1, max_value=200))
def test_it_makes_the_same_events_however_it_is_cut(name: str, cut: int) -> None:
    assert replay(name, cut) == replay(name, 1 << 20)

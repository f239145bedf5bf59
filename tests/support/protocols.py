"""Bytes of I/O-free protocols: cut anyhow, and what comes of them."""

import itertools

from hypothesis import strategies as st

from vmsandbox.streaming.protocol.multiplexer import Data, Event, Multiplexer
from vmsandbox.streaming.protocol.port_forward import PortForward
from vmsandbox.streaming.protocol.remote_command import RemoteCommand


def got(client: Multiplexer, protocol: RemoteCommand | PortForward) -> dict[int, bytes]:
    """Return the bytes that the client received on each stream."""
    result: dict[int, bytes] = {}
    for event in client.receive(protocol.take_output()):
        if isinstance(event, Data):
            result[event.stream] = result.get(event.stream, b"") + event.data
    return result


cuts = st.lists(st.integers(min_value=0), max_size=30)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def joined(events: list[Event]) -> list[Event]:
    """Data that came in pieces, as one."""
    result: list[Event] = []
    for event in events:
        if isinstance(event, Data) and result and isinstance(result[-1], Data) and result[-1].stream == event.stream:
            result[-1] = Data(event.stream, result[-1].data + event.data)
        else:
            result.append(event)
    return result

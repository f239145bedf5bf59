"""The first two frames of a control connection."""

import asyncio

from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.guest.text import first_line
from vmsandbox.guest.transport import Connection
from vmsandbox.protocol.codec import MalformedMessage, decode, encode
from vmsandbox.protocol.framing import ProtocolError, pack_json, parse_json
from vmsandbox.protocol.messages import Hello, HelloReply

HELLO_TIMEOUT = 10.0
"""Seconds in which the agent has to answer."""


async def exchange_hellos(connection: Connection, hello: Hello) -> HelloReply:
    """Say hello on a new connection and return what the agent says of itself.

    Raises:
        Unavailable: it says nothing, or nothing that can be understood; perhaps it does so later.
        FailedPrecondition: it speaks none of the versions offered.
    """
    try:
        async with asyncio.timeout(HELLO_TIMEOUT):
            await connection.send(pack_json(encode(hello)))
            reply = _reply(await connection.receive())
    except TimeoutError:
        raise Unavailable(f"the agent did not answer the hello within {HELLO_TIMEOUT:g} s") from None
    except (OSError, ProtocolError, MalformedMessage) as error:
        raise Unavailable(f"the hello failed: {first_line(str(error))}") from None
    if reply.version not in hello.versions:
        raise FailedPrecondition(
            f"the guest's agent speaks none of the protocol versions {', '.join(map(str, hello.versions))}",
            hint="rebuild the guest image with `vmsandbox image build-guest`",
        )
    return reply


def _reply(payload: bytes | None) -> HelloReply:
    if payload is None:
        raise ProtocolError("the agent ended the connection")
    return decode(HelloReply, parse_json(payload))

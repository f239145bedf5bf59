"""The first frames of a control connection: two hellos, and what proves that both ends know the machine's secret."""

import asyncio
from collections.abc import Awaitable, Callable

from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.guest.session.untrusted_text import first_line
from vmsandbox.guest.transport import GuestConnection
from vmsandbox.protocol.codec import MalformedMessage, decode, encode
from vmsandbox.protocol.framing import ProtocolError, pack_json, parse_json
from vmsandbox.protocol.messages import Hello, HelloProof, HelloReply
from vmsandbox.protocol.secret import End, prove, proves

HELLO_TIMEOUT = 10.0
"""Seconds in which the agent has to answer."""

Greet = Callable[[GuestConnection], Awaitable[HelloReply]]
"""Says hello on a new connection, as `exchange_hellos`."""


async def exchange_hellos(connection: GuestConnection, hello: Hello, secret: bytes = b"") -> HelloReply:
    """Say hello on a new connection and return what the agent says of itself.

    Args:
        connection: stays the caller's.
        hello: with a nonce where there is a secret.
        secret: of the machine, which both ends then prove to know; empty: it was started without one.

    Raises:
        Unavailable: it says nothing, or nothing that can be understood; perhaps it does so later.
        FailedPrecondition: it speaks none of the versions offered, or does not know the secret.
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
    if secret:
        await _prove(connection, hello, reply, secret)
    return reply


async def _prove(connection: GuestConnection, hello: Hello, reply: HelloReply, secret: bytes) -> None:
    """Check the agent's proof before giving ours."""
    if not proves(reply.proof, secret, End.AGENT, hello.nonce, reply.nonce):
        raise FailedPrecondition(
            "the program that answers in the guest does not know the machine's secret, so it is not the agent",
            hint="if no pod starts, the guest image is too old: build it with `vmsandbox image build-guest`",
        )
    proof = HelloProof(prove(secret, End.HOST, hello.nonce, reply.nonce))
    try:
        await connection.send(pack_json(encode(proof)))
    except OSError as error:
        raise Unavailable(f"the connection to the agent broke: {error.strerror or error}") from None


def _reply(payload: bytes | None) -> HelloReply:
    if payload is None:
        raise ProtocolError("the agent ended the connection")
    return decode(HelloReply, parse_json(payload))

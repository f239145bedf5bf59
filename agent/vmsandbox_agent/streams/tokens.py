"""The stream port: tokens that the control channel gives out, once each, and what they open."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vmsandbox.protocol.codec import MalformedMessage, decode
from vmsandbox.protocol.framing import ProtocolError, parse_json
from vmsandbox.protocol.messages import StreamToken
from vmsandbox_agent import console
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.settings import HELLO_TIMEOUT, MAX_STREAMS, TOKEN_LIFETIME
from vmsandbox_agent.streams.connection import HostConnection

_TOKEN_FRAME = 1024
"""Bytes that the frame with the token may have."""

Serve = Callable[[HostConnection], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Offer:
    """A token's offer: the function that serves the connection, and the one that gives the offer up."""

    serve: Serve
    void: Callable[[], None]
    expiry: asyncio.TimerHandle


class StreamTokens:
    """Tokens not yet used, and the streams that run; both end with the controller they were made for."""

    def __init__(self) -> None:
        """Begin without any."""
        self._offers: dict[str, _Offer] = {}
        self._running: set[asyncio.Task[None]] = set()

    def offer(self, serve: Serve, void: Callable[[], None] = lambda: None) -> StreamToken:
        """A token for which `serve` runs once on the connection that presents it, or else `void`.

        Raises:
            AgentError: there are too many streams.
        """
        if len(self._offers) + len(self._running) >= MAX_STREAMS:
            void()
            raise AgentError("resource_exhausted", f"{MAX_STREAMS} streams are open")
        token = os.urandom(16).hex()
        expiry = asyncio.get_running_loop().call_later(TOKEN_LIFETIME, self._void, token)
        self._offers[token] = _Offer(serve, void, expiry)
        return StreamToken(token)

    async def serve(self, connection: HostConnection) -> None:
        """Serve a new connection on the stream port to its end; one without a valid token ends at once."""
        task = asyncio.current_task()
        try:
            offer = await self._claim(connection)
            if offer is None or task is None:
                return
            connection.is_stranger = False
            self._running.add(task)
            await offer.serve(connection)
        except (ProtocolError, OSError) as error:
            console.error(f"a stream ended: {error}")
        finally:
            if task is not None:
                self._running.discard(task)

    def end_all(self) -> None:
        """Void every token and end every stream: their controller has gone."""
        for token in list(self._offers):
            self._void(token)
        for task in self._running:
            task.cancel()

    async def _claim(self, connection: HostConnection) -> _Offer | None:
        with contextlib.suppress(TimeoutError, ProtocolError, MalformedMessage):
            async with asyncio.timeout(HELLO_TIMEOUT):
                first = await connection.frame(_TOKEN_FRAME)
            token = decode(StreamToken, parse_json(first or b"")).token
            if (offer := self._offers.pop(token, None)) is not None:
                offer.expiry.cancel()
                return offer
        console.error("a stream connection showed no valid token")
        return None

    def _void(self, token: str) -> None:
        offer = self._offers.pop(token, None)
        if offer is not None:
            offer.expiry.cancel()
            offer.void()

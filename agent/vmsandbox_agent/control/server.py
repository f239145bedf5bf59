"""Accepts the host on both ports; there is one controller, and the newest one is it."""

import asyncio
import contextlib
import socket
import traceback
from collections.abc import Awaitable, Callable

from vmsandbox.protocol.codec import encode
from vmsandbox.protocol.framing import ProtocolError, pack_json
from vmsandbox.protocol.messages import CONTROL_PORT, STREAM_PORT, VERSIONS
from vmsandbox_agent import console
from vmsandbox_agent.control.requests import GuestRequests
from vmsandbox_agent.control.session import HostSession, check_proof, read_hello, reply_to, say_goodbye
from vmsandbox_agent.settings import MAX_STRANGERS
from vmsandbox_agent.streams import HostConnection, Listen, is_host

_SHORTAGE = 0.5
"""Seconds until accepting is tried again after it failed."""

Serve = Callable[[HostConnection], Awaitable[None]]


class Server:
    """Serves `guest` until cancelled."""

    def __init__(self, guest: GuestRequests, started: float) -> None:
        """`started` is the uptime at which the agent began to run."""
        self._guest = guest
        self._started = started
        self._controller: asyncio.Task[None] | None = None

    async def run(self, listen: Listen, announce: Callable[[], Awaitable[None]] | None = None) -> None:
        """Listen, and accept for ever; `announce` tells the host that it may dial."""
        control, stream = listen(CONTROL_PORT), listen(STREAM_PORT)
        console.info(f"ready, {self._started:.2f} s after the kernel")
        serving = [
            _accept_all(control, self._serve_controller),
            _accept_all(stream, self._guest.streams.serve),
        ]
        await asyncio.gather(*serving, *([announce()] if announce else []))

    async def _serve_controller(self, connection: HostConnection) -> None:
        try:
            hello = await read_hello(connection)
            settings = self._guest.settings
            reply = reply_to(hello, settings, self._started, self._guest.handlers)
            await connection.send(pack_json(encode(reply)))
            if not reply.version:
                raise ProtocolError(f"the agent speaks the versions {VERSIONS} only")
            if settings.secret:
                await check_proof(connection, settings.secret, hello, reply)
            connection.is_stranger = False
            await self._replace_controller()
            await HostSession(connection, self._guest.handlers, self._guest.events).run(hello.acknowledged)
        except ProtocolError as error:
            console.error(f"the control connection ended: {error}")
            await say_goodbye(connection, str(error))
        except asyncio.CancelledError:
            if not connection.is_stranger:
                await say_goodbye(connection, "replaced by a newer controller")
            raise
        finally:
            if self._controller is asyncio.current_task():
                self._controller = None
                self._guest.streams.end_all()

    async def _replace_controller(self) -> None:
        """Become the controller; what the old one had running is cancelled first."""
        old, self._controller = self._controller, asyncio.current_task()
        if old is not None:
            old.cancel()
            await asyncio.wait([old])
            self._guest.streams.end_all()


async def _accept_all(listener: socket.socket, serve: Serve) -> None:
    """Serve every connection, but no more than `MAX_STRANGERS` of those that have not said who they are.

    The oldest makes way for a new one: every process of the host can dial, and shall not keep the controller out.
    """
    listener.setblocking(False)
    connections: dict[asyncio.Task[None], HostConnection] = {}
    while True:
        sock = await _accept(listener)
        connection = HostConnection(sock)
        task = asyncio.create_task(_serve_socket(sock, connection, serve))
        connections[task] = connection
        task.add_done_callback(connections.pop)
        await asyncio.sleep(0)  # It begins, and from then on closes its socket whatever comes.
        strangers = [each for each, known in connections.items() if known.is_stranger and not each.cancelling()]
        if len(strangers) > MAX_STRANGERS:
            strangers[0].cancel()


async def _accept(listener: socket.socket) -> socket.socket:
    """The next connection; a shortage (of file descriptors) is waited out."""
    while True:
        try:
            return (await asyncio.get_running_loop().sock_accept(listener))[0]
        except OSError as error:
            console.error(f"cannot accept a connection: {error}")
            await asyncio.sleep(_SHORTAGE)


async def _serve_socket(sock: socket.socket, connection: HostConnection, serve: Serve) -> None:
    """Serve a connection to its end, and close it. Only the host is served."""
    with contextlib.closing(sock):
        if not is_host(sock):
            console.error(f"refused {sock.getpeername()}: only the host is served")
            return
        try:
            await serve(connection)
        except OSError as error:
            console.error(f"a connection broke: {error}")
        except Exception:
            console.error(traceback.format_exc())

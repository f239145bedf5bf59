"""vhost-device-vsock: the transport of hosts whose kernel has no vhost_vsock, one process per sandbox.

The process outlives ours. Its sockets and its log lie in the sandbox's directory, so that a directory and a CID
are all that is needed to find it again.

Version 0.3 must not be dialled while the guest's driver sets its queues up: its one worker then ends with an error, and
the daemon takes connections that it never answers. So the guest is dialled only when it has said that it listens.
"""

import asyncio
import socket
from pathlib import Path

from tenacity import AsyncRetrying, retry_if_result, wait_fixed
from typing_extensions import override

from vmsandbox import aio
from vmsandbox.claims import MachineUsers
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, Unavailable
from vmsandbox.guest.transport.connection import Transport, TransportBroken
from vmsandbox.guest.transport.vhost_daemon import (
    VHOST_DEVICE_VSOCK,
    check_length,
    close_directory,
    command,
    confinement,
    dial_socket,
    is_ending,
    listen_at,
    listening_sockets,
    log_file,
    log_tail,
    make_directory,
    program_installed,
    ready_socket,
    remove_sockets,
    vhost_socket,
)
from vmsandbox.model import Vsock
from vmsandbox.process import ProcessIdentity, start_daemon

START_TIMEOUT = 10.0


class VhostDevice(Transport):
    """The daemon of one sandbox. Its owner records `identity`, and calls `stop` when the machine has ended."""

    def __init__(self, directory: Path, cid: int, identity: ProcessIdentity) -> None:
        """Take up a daemon that runs; `start` makes one.

        Args:
            directory: where it was started.
            cid: the guest's.
            identity: what `start` gave, or `vhost_daemon.find`.
        """
        self.device = Vsock(cid, vhost_socket(directory))
        self.identity = identity
        self._announcement: socket.socket | None = None
        self._directory = directory
        self._dial_socket = dial_socket(directory)

    @classmethod
    async def start(
        cls,
        directory: Path,
        cid: int,
        users: MachineUsers,
        *,
        program: Path = VHOST_DEVICE_VSOCK,
    ) -> "VhostDevice":
        """Start the daemon and return when it listens; on failure no process is left, and the directory stays.

        Args:
            directory: is made for it; the users of the sandbox may pass through its parents.
            cid: any but 0 to 2; no other process shares it.
            users: whom it runs as, and who may open the vhost-user socket beside root: QEMU.
            program: vhost-device-vsock 0.3.

        Raises:
            InvalidArgument: the directory's path is too long for a Unix socket.
            FailedPrecondition: the program is not installed.
            Unavailable: it did not start; what it printed is the evidence.
        """
        check_length(directory)
        if not program_installed(program):
            raise FailedPrecondition(f"the program {program} is not installed", hint="`make setup` builds it")
        make_directory(directory, users.vsock)
        log = log_file(directory)
        identity = await start_daemon(command(program, directory, cid), log, confinement(users.vsock))
        device = cls(directory, cid, identity)
        try:
            device._announcement = listen_at(ready_socket(directory), users.vsock)
            await device._listening()
            close_directory(directory, users.qemu)
        except BaseException:
            device.stop()
            raise
        return device

    @override
    async def ready(self) -> None:
        """Wait until the guest connects to say that it listens. Return at once for a daemon that was taken over."""
        if self._announcement is None:
            return
        accept = asyncio.get_running_loop().sock_accept(self._announcement)
        async with aio.background(accept) as accepting, aio.background(self.wait_ended()) as ending:
            await asyncio.wait([accepting, ending], return_when=asyncio.FIRST_COMPLETED)
            if not accepting.done():
                raise await self.diagnose() or TransportBroken("the vsock daemon has died")
            accepting.result()[0].close()
        self._let_go()

    @override
    async def dial(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await connect_hybrid(self._dial_socket, port)
        except (OSError, ValueError, asyncio.LimitOverrunError) as error:
            if broken := await self.diagnose():
                raise broken from None
            raise Unavailable(f"vsock port {port}: {_seen(error)}") from None

    @override
    async def diagnose(self) -> TransportBroken | None:
        if not is_ending(self.identity):
            return None
        await self.wait_ended()
        return TransportBroken(
            f"the vsock daemon (vhost-device-vsock, pid {self.identity.pid}) has died",
            evidence={"vhost-device-vsock": log_tail(self._directory)},
        )

    async def wait_ended(self) -> None:
        """Return when the daemon has ended; its watch calls this."""
        await self.identity.ended()

    def stop(self) -> None:
        """Kill the daemon and remove its sockets; its log stays. Succeeds where it has ended."""
        self.identity.kill()
        self._let_go()
        remove_sockets(self._directory)

    def _let_go(self) -> None:
        if self._announcement is not None:
            self._announcement.close()
            self._announcement = None

    async def _listening(self) -> None:
        """The daemon tells nobody that it is ready, so its sockets are looked for until they listen."""
        paths = {str(self._dial_socket), str(self.device.socket)}
        waiting = AsyncRetrying(
            retry=retry_if_result(lambda _: not paths <= listening_sockets(self.identity.pid)), wait=wait_fixed(0.01)
        )
        try:
            async with asyncio.timeout(START_TIMEOUT):
                await waiting(self._check_running)
        except TimeoutError:
            raise DeadlineExceeded(
                f"the vsock daemon does not listen {START_TIMEOUT:g} s after its start",
                evidence={"vhost-device-vsock": log_tail(self._directory)},
            ) from None

    async def _check_running(self) -> None:
        if broken := await self.diagnose():
            raise broken


def _seen(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


async def connect_hybrid(path: Path, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to a port of a guest by hybrid vsock, as in Firecracker: all ports are behind one socket.

    A client names the port with `CONNECT port`, and is answered `OK` and a number when the guest takes the connection.
    The connection is the caller's. `path` is that Unix socket.

    Raises:
        OSError: there is no such socket, or nobody listens on that port.
        ValueError: the answer is longer than any line.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.connect(str(path))
        # At once and in one piece: vhost-device-vsock reads the line once, and spins on a silent client that closes.
        sock.send(b"CONNECT %d\n" % port)
    except BaseException:
        sock.close()
        raise
    reader, writer = await asyncio.open_connection(sock=sock)
    try:
        answer = await reader.readline()
        if not answer.startswith(b"OK "):
            raise ConnectionResetError("nobody listens on it yet" if not answer else f"answer {answer!r}")
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer

"""A connection by ssh. paramiko has a thread for each connection, and this adds one that listens for its end."""

import contextlib
import json
import select
import shlex
import threading
import time
from dataclasses import asdict
from importlib import resources

import paramiko

from vmsandbox.errors import Unavailable
from vmsandbox.lab.dialling import connect
from vmsandbox.lab.host import LOST, Command, Connection, LabHost, Reach, Stopping, Streams

_CHUNK = 1 << 15
_POLL = 0.1
_BEATS = 5
"""Keepalives within the silence after which a host counts as gone."""
_LINGER = 1.0
"""Seconds in which output may follow the exit status: what the command left running may keep its end for ever."""

_BOOTSTRAP = "import sys; exec(compile(sys.stdin.buffer.read(int(sys.argv[1])), 'runner', 'exec'))"


def dial(host: LabHost, reach: Reach) -> Connection:
    """A connection, which its caller closes. Raises as `dialling.connect`."""
    with contextlib.ExitStack() as stack:
        transport = connect(host, reach, stack)
        return SshConnection(host, transport, reach.silence_timeout, stack.pop_all())


class SshConnection(Connection):
    """Commands run under `remote.runner`, one after the other, each in a session of its own."""

    def __init__(
        self, host: LabHost, transport: paramiko.Transport, silence: float, stack: contextlib.ExitStack
    ) -> None:
        """Take over a transport, and the stack that closes it."""
        self._host, self._transport, self._stack = host, transport, stack
        self._silence, self._heard = silence, time.monotonic()
        self._closed = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """See Connection."""
        self._closed.set()
        self._stack.close()

    def run(self, command: Command, streams: Streams, stopping: Stopping) -> int:
        """See Connection."""
        try:
            with contextlib.closing(self._transport.open_session(timeout=self._silence)) as channel:
                channel.exec_command(bootstrap(self._host.sudo))
                return self._converse(channel, start(command), streams, stopping)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise Unavailable(f"{LOST}: {str(error) or type(error).__name__}") from None

    def _converse(self, channel: paramiko.Channel, pending: bytes, streams: Streams, stopping: Stopping) -> int:
        asked, ended = stopping.asked, 0.0
        while True:
            pending += b"INT\n" * (stopping.asked - asked)
            asked = stopping.asked
            ended = ended or (time.monotonic() if channel.exit_status_ready() else 0.0)
            over = ended and (channel.eof_received or channel.closed or time.monotonic() - ended > _LINGER)
            received = _receive(channel, streams)
            pending, sent = _send(channel, pending)
            if over and not received:
                return _status(channel)
            if not received and not sent:
                self._check()
                select.select([channel], [], [], _POLL / 5 if pending else _POLL)

    def _check(self) -> None:
        if time.monotonic() - self._heard > self._silence:
            raise Unavailable(f"{LOST}: the host has not answered for {self._silence:g} s")

    def _listen(self) -> None:
        """Ask for an answer now and then. A host that vanishes says nothing, and TCP waits for minutes."""
        while not self._closed.wait(self._silence / _BEATS) and self._transport.is_active():
            with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
                self._transport.global_request("keepalive@openssh.com", wait=True)
            if self._transport.is_active():
                self._heard = time.monotonic()


def bootstrap(sudo: bool) -> str:
    """The one line that a host's shell is given: it is the same for all commands."""
    rights = ("sudo", "-n") if sudo else ()
    return shlex.join((*rights, "python3", "-IS", "-c", _BOOTSTRAP, str(len(_runner()))))


def start(command: Command) -> bytes:
    """Build the first input of `remote.runner`, after its own source."""
    request = asdict(command) | {"stdin": len(command.stdin)}
    return _runner() + json.dumps(request).encode() + b"\n" + command.stdin


def _runner() -> bytes:
    return resources.files("vmsandbox.lab.remote").joinpath("runner.py").read_bytes()


def _receive(channel: paramiko.Channel, streams: Streams) -> bool:
    """Whether there was output."""
    moved = False
    if channel.recv_ready():
        streams.stdout(channel.recv(_CHUNK))
        moved = True
    if channel.recv_stderr_ready():
        streams.stderr(channel.recv_stderr(_CHUNK))
        moved = True
    return moved


def _send(channel: paramiko.Channel, pending: bytes) -> tuple[bytes, bool]:
    """Return what is left to send, and whether anything was sent. A command that has ended takes nothing."""
    if not pending or not channel.send_ready():
        return b"" if channel.closed else pending, False
    try:
        return pending[channel.send(pending[:_CHUNK]) :], True
    except OSError:
        return b"", False


def _status(channel: paramiko.Channel) -> int:
    status = channel.recv_exit_status()
    if status < 0:
        raise Unavailable(f"{LOST} before the command had ended")
    return status

"""The connection to the daemon (`vmsandbox serve`)."""

import os
import socket
from typing import Any

from vmsandbox.oci_command import wire
from vmsandbox.oci_command.errors import CommandError, ConnectionLost
from vmsandbox.oci_command.phrases import as_runc

DEFAULT = f"/run/vmsandbox/{wire.SOCKET}"


class Daemon:
    """Where the daemon listens."""

    def __init__(self, path: str) -> None:
        """Nothing is connected before the first call."""
        self.path = path

    def hold_directory(self) -> int:
        """Reach the socket by a descriptor of its directory from now on, whatever root this process gets; return it.

        It needs a /proc.
        """
        directory, name = os.path.split(self.path)
        held = os.open(directory, os.O_PATH | os.O_CLOEXEC)
        self.path = f"/proc/self/fd/{held}/{name}"
        return held

    def call(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Make a call that has one answer. Raises CommandError: what the daemon says, or that it is not there."""
        connection = self.open(name, **arguments)
        connection.close()
        return connection.answer

    def open(self, name: str, **arguments: Any) -> "Connection":
        """Make a call, and keep the connection for what follows its answer. Raises as `call`."""
        connection = Connection(self._connect(), self.path)
        try:
            connection.request({"version": wire.VERSION, "call": name, **arguments})
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> socket.socket:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connected.connect(self.path)
        except OSError as error:
            connected.close()
            why = error.strerror
            if isinstance(error, FileNotFoundError):  # conmon and podman take its text for a command that is missing
                why = "there is no such socket"
            raise ConnectionLost(
                f"vmsandbox serve does not answer at {self.path}: {why}; start it, or name its socket with --socket"
            ) from None
        return connected


class Connection:
    """One connection; the caller closes it."""

    def __init__(self, connected: socket.socket, path: str) -> None:
        """Own the socket."""
        self.answer: dict[str, Any] = {}
        self.socket = connected
        self._path = path

    def request(self, message: dict[str, Any]) -> None:
        """Send the request, and wait for its answer. Raises CommandError."""
        try:
            self.socket.sendall(wire.pack_message(message))
            kind, payload = self.receive()
            self.answer = wire.message(payload)
        except wire.WireError as error:
            raise CommandError(f"vmsandbox serve at {self._path}: {error}") from None
        except OSError as error:
            raise self._lost(error.strerror or str(error)) from None
        if kind != wire.MESSAGE or "error" in self.answer:
            failure = ConnectionLost if self.answer.get("code") == "unavailable" else CommandError
            raise failure(as_runc(self.answer.get("error", "vmsandbox serve has sent something else than an answer")))

    def receive(self) -> tuple[bytes, bytes]:
        """Wait for a frame. Raises ConnectionLost, WireError, OSError."""
        kind, length = wire.header(self._exactly(wire.HEADER.size))
        return kind, self._exactly(length)

    def close(self) -> None:
        """End it."""
        self.socket.close()

    def _exactly(self, size: int) -> bytes:
        parts, left = [], size
        while left:
            part = self.socket.recv(left)
            if not part:
                raise self._lost("it has closed the connection")
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _lost(self, reason: str) -> ConnectionLost:
        return ConnectionLost(f"the connection to vmsandbox serve at {self._path} is lost: {reason}")


def socket_of(option: str | None) -> str:
    """Return the path of the daemon's socket: that of the option, or of the environment, or the default."""
    return option or os.environ.get("VMSANDBOX_OCI_SOCKET") or DEFAULT

"""Connecting: what is tried again, and for how long."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.lab import Hop, HostKeys, LabHost, Reach, dial


class Listener:
    """Accepts connections and closes each at once."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.accepted = 0

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.accepted += 1
                connection.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    thread = threading.Thread(target=listener.serve)
    thread.start()
    yield listener
    listener.socket.shutdown(socket.SHUT_RDWR)
    listener.socket.close()
    thread.join(10)


def reached(port: int, known_hosts: Path) -> None:
    hop = Hop("alpha", "127.0.0.1", port, "root", None)
    dial(LabHost(hop, None, False, "/a/b", ()), Reach(known_hosts, HostKeys.STRICT, 2, 2)).close()


def test_a_connection_that_breaks_is_tried_three_times(listener: Listener, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=rf"root@127.0.0.1:{listener.port} cannot be reached: "):
        reached(listener.port, tmp_path / "known_hosts")
    assert listener.accepted == 3


def test_known_hosts_that_cannot_be_read_are_an_error_before_any_attempt(listener: Listener, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="the known hosts in"):
        reached(listener.port, tmp_path)
    assert listener.accepted == 0

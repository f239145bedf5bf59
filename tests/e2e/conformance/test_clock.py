"""The clock that containers see is the host's."""

import socket
import statistics
import time
from collections.abc import Iterator

import pytest

from tests.support.conformance_client import Container, Pod, eventually
from vmsandbox.guest.clock import INTERVAL, SPREAD

_TELL_TIME = "while read -r line; do echo $EPOCHREALTIME; done"
_PORT = 9000


@pytest.fixture
def teller(privileged_pod: Pod) -> Iterator[Container]:
    """A container that may set the clock, and tells the time to its clients."""
    command = ("nc", "-ll", "-p", str(_PORT), "-e", "sh", "-c", _TELL_TIME)
    container = privileged_pod.start(*command, security={"privileged": True})
    yield container
    container.remove()


def behind(pod: Pod, times: int = 1) -> list[float]:
    """Seconds by which the pod's clock is behind ours, as samples whose round trips were short."""
    address = (pod.status().network.ip, _PORT)
    connection = eventually(lambda: _connected(address))
    with connection, connection.makefile("rb") as answers:
        return [eventually(lambda: _sample(connection, answers)) for _ in range(times)]


def _connected(address: tuple[str, int]) -> socket.socket | None:
    try:
        return socket.create_connection(address, 10)
    except ConnectionRefusedError:
        return None


def _sample(connection: socket.socket, answers: "socket.SocketIO") -> float | None:
    begin = time.time()
    connection.sendall(b"\n")
    guest = float(answers.readline())
    taken = time.time() - begin
    return begin + taken / 2 - guest or 1e-9 if taken < 0.03 else None


def test_a_container_s_time_is_the_host_s_within_100_ms(privileged_pod: Pod, teller: Container) -> None:
    samples = behind(privileged_pod, 100)
    assert max(map(abs, samples)) < 0.1
    assert abs(statistics.median(samples)) < 0.05


def test_a_clock_that_a_container_has_set_wrong_is_right_after_an_interval(
    privileged_pod: Pod, teller: Container
) -> None:
    teller.output("date", "-s", "2031-05-05 05:05:05")
    begin = time.monotonic()
    eventually(lambda: abs(behind(privileged_pod)[0]) < 0.1, INTERVAL[1] + SPREAD + 5)
    assert time.monotonic() - begin < INTERVAL[1] + SPREAD + 5

"""Lists are those of the client that speaks gRPC; whatever else happens is unusual."""

import asyncio
import contextlib
import socket
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.cri import served
from vmsandbox.cri.listing import Unusual, listing_of
from vmsandbox.cri.listing.connection import Connection

POD_COUNT = 60
"""Their list is longer than the 64 KiB that HTTP/2 sends unasked."""


@pytest.fixture
async def daemon(tmp_path):
    async with served(tmp_path) as daemon:
        yield daemon


def lists(path):
    """All that a runtime lists."""
    with listing_of([path, path.with_name("absent")]) as listing:
        pods = finished(listing.list_pod_sandboxes())
        statuses = [finished(listing.pod_sandbox_status(pod.id)) for pod in pods[:3]]
        return pods, statuses, finished(listing.list_containers()), finished(listing.images.list())


def finished(coroutine):
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


async def test_lists_are_those_of_the_client(daemon):
    for number in range(POD_COUNT):
        pod = await daemon.sandbox(f"web-{number}", app="web" * 30)
        await daemon.container(pod, annotations={"note": "n" * 2000})
    pods, statuses, containers, images = await asyncio.to_thread(lists, daemon.path)
    assert pods == await daemon.client.list_pod_sandboxes()
    assert len(pods) == POD_COUNT
    assert [one.ips for one in statuses] == [(await daemon.client.pod_sandbox_status(pod.id)).ips for pod in pods[:3]]
    assert statuses[0].ips
    assert containers == await daemon.client.list_containers()
    assert images == await daemon.client.images.list()


async def test_an_error_of_the_runtime_is_unusual(daemon):
    def ask():
        with listing_of([daemon.path]) as listing:
            finished(listing.list_pod_sandboxes())
            listing.pod_sandbox_status("absent").send(None)

    with pytest.raises(Unusual):
        await asyncio.to_thread(ask)


async def test_several_runtimes_are_unusual(daemon, tmp_path):
    with listening(tmp_path / "other.sock", lambda _: None), pytest.raises(Unusual, match="2 runtimes"):
        listing_of([daemon.path, tmp_path / "other.sock"]).__enter__()


def test_no_runtime_is_unusual(tmp_path):
    with pytest.raises(Unusual, match="0 runtimes"):
        listing_of([tmp_path / "absent"]).__enter__()


def test_a_runtime_that_hangs_is_unusual_soon(tmp_path):
    begun = time.monotonic()
    path = tmp_path / "s"
    with listening(path, lambda peer: peer.recv(1) and time.sleep(1)), Connection(path, 0.2) as connection:  # noqa: SIM117
        with pytest.raises(Unusual, match="timed out"):
            connection.call("/a/b", b"")
    assert time.monotonic() - begun < 5


HEAD = st.builds(
    lambda length, kind, flags, stream: length.to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4),
    st.integers(0, 40), st.integers(0, 12), st.integers(0, 255), st.integers(0, 3),
)  # fmt: skip


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(HEAD | st.binary(max_size=60), max_size=8).map(b"".join))
def test_whatever_a_runtime_says_is_an_answer_or_unusual(tmp_path_factory, said):
    path = tmp_path_factory.mktemp("said") / "s"
    with (
        listening(path, lambda peer: peer.sendall(said)),
        contextlib.suppress(Unusual),
        Connection(path, 2) as connection,
    ):
        connection.call("/a/b", b"")


@contextlib.contextmanager
def listening(path: Path, serve):
    """A server that serves its first client in a thread, and then closes the connection."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def run():
            with contextlib.suppress(OSError):
                peer, _ = server.accept()
                with peer:
                    serve(peer)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            thread.join(10)

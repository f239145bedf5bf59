"""The connection to libvirt: which URIs it opens, that a lost one comes back, that calls run to their end."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.waiting import until
from tests.unit.hypervisor.test_faults import libvirt_error
from vmsandbox.errors import InvalidArgument, NotFound, Unavailable
from vmsandbox.hypervisor.libvirt import connection as module
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.connection import LibvirtConnection


class Daemon:
    """A libvirtd that a test stops and starts. Its connections are as libvirt's, as far as `LibvirtConnection` goes."""

    def __init__(self) -> None:
        self.runs = True
        self.hangs = threading.Event()
        """Cleared while it hangs."""
        self.hangs.set()
        self.dials = 0
        self.connections: list[Daemon.Client] = []

    class Client:
        def __init__(self) -> None:
            self.alive = True
            self.closed = False
            self.callbacks: list[int] = [1, 2]
            self.on_close: Callable[..., None] | None = None

        def isAlive(self) -> int:
            return int(self.alive)

        def setKeepAlive(self, interval: int, count: int) -> None:
            assert interval * count <= 20

        def registerCloseCallback(self, callback: Callable[..., None], opaque: None) -> None:
            self.on_close = callback

        def unregisterCloseCallback(self) -> None:
            self.on_close = None

        def domainEventDeregisterAny(self, number: int) -> None:
            if not self.alive:
                raise lost()
            self.callbacks.remove(number)

        def close(self) -> None:
            self.closed = True

    def open(self, uri: str) -> "Daemon.Client":
        assert threading.current_thread() is not threading.main_thread()
        assert uri == "qemu+unix:///system"
        self.dials += 1
        self.hangs.wait(10)
        if not self.runs:
            raise lost()
        self.connections.append(self.Client())
        return self.connections[-1]

    def stop(self, *, told: bool = True) -> None:
        """Stop the server; with `told` the closed connection is noticed at once."""
        self.runs = False
        client = self.connections[-1]
        client.alive = False
        if told and client.on_close is not None:
            client.on_close(client, 0, None)


def lost() -> Exception:
    return libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR, "client socket is closed", domain=libvirt.VIR_FROM_RPC)


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    daemon = Daemon()
    monkeypatch.setattr(libvirt, "open", daemon.open)
    return daemon


def opened(reconnected: Callable[[], None] = lambda: None) -> Any:
    return LibvirtConnection.opened("qemu:///system", lambda client: [1, 2], reconnected)


def alive(client: Any) -> Any:
    """A call: the connection it ran on."""
    if not client.alive:
        raise lost()
    return client


@pytest.mark.parametrize(
    "uri",
    ["", "test:///default", "qemu:///", "qemu:///embed", "qemu:///embed?root=relative", "qemu://host/embed?root=/x",
     "xen:///system", "/run/x"],
)  # fmt: skip
async def test_a_uri_that_no_machine_runs_on_is_refused(uri: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a libvirt"):
        async with LibvirtConnection.opened(uri, lambda client: []):
            pass


async def test_without_a_daemon_the_error_says_what_to_do(daemon: Daemon) -> None:
    daemon.runs = False
    with pytest.raises(Unavailable, match="qemu:///system") as caught:
        async with opened():
            pass
    assert "libvirtd" in caught.value.hint


async def test_closing_takes_the_callbacks_back(daemon: Daemon) -> None:
    async with opened():
        pass
    client = daemon.connections[0]
    assert client.closed and client.callbacks == [] and client.on_close is None


async def test_a_call_runs_in_another_thread_and_its_errors_are_ours(daemon: Daemon) -> None:
    def fail(client: Any) -> None:
        raise libvirt_error(libvirt.VIR_ERR_NO_DOMAIN, "no domain")

    async with opened() as connection:
        name = await connection.call("it", lambda client: threading.current_thread().name)
        assert name.startswith("libvirt")
        with pytest.raises(NotFound, match="it: no domain"):
            await connection.call("it", fail)


async def test_a_cancelled_call_is_cancelled_when_it_has_ended(daemon: Daemon) -> None:
    go, ended = threading.Event(), threading.Event()

    def slow(client: Any) -> None:
        go.wait(10)
        ended.set()

    async with opened() as connection:
        call = asyncio.create_task(connection.call("it", slow))
        await asyncio.sleep(0.01)
        for _ in range(3):
            call.cancel()
            await asyncio.sleep(0.01)
        assert not call.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert ended.is_set()


async def test_calls_are_bounded_in_number(daemon: Daemon) -> None:
    running, most, lock = 0, 0, threading.Lock()
    full = threading.Barrier(module.CALLS_AT_ONCE)

    def count(client: Any) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        full.wait(10)
        with lock:
            running -= 1

    async with opened() as connection:
        await asyncio.gather(*(connection.call("it", count) for _ in range(3 * module.CALLS_AT_ONCE)))
    assert most == module.CALLS_AT_ONCE


@pytest.mark.parametrize("told", [True, False])
async def test_after_a_restart_calls_go_on(daemon: Daemon, told: bool) -> None:
    opened_again = asyncio.Event()
    async with opened(opened_again.set) as connection:
        daemon.stop(told=told)
        call = asyncio.create_task(connection.call("it", alive))
        await asyncio.sleep(0.05)
        assert not call.done()
        daemon.runs = True
        assert await asyncio.wait_for(call, 5) is daemon.connections[1]
        await asyncio.wait_for(opened_again.wait(), 5)
    assert [client.closed for client in daemon.connections] == [True, True]


async def test_a_daemon_of_our_own_is_started_before_each_attempt_to_connect_again(daemon: Daemon) -> None:
    started = 0

    async def revive() -> None:
        nonlocal started
        started += 1
        if started == 1:
            raise Unavailable("it cannot be started yet")
        daemon.runs = True

    async with LibvirtConnection.opened("qemu:///system", lambda client: [1, 2], revive=revive) as connection:
        assert started == 0  # Its caller has started it.
        daemon.stop()
        assert await asyncio.wait_for(connection.call("it", alive), 10) is daemon.connections[1]
    assert started == 2


async def test_what_may_not_be_done_twice_is_not(daemon: Daemon) -> None:
    async with opened() as connection:
        daemon.stop(told=False)
        daemon.runs = True
        with pytest.raises(Unavailable, match="client socket is closed"):
            await connection.call("it", alive, repeatable=False)
        assert await connection.call("it", alive, repeatable=False) is daemon.connections[1]


async def test_a_daemon_that_stays_away_is_an_error(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECONNECT_DEADLINE", 0.2)
    async with opened() as connection:
        daemon.stop()
        with pytest.raises(Unavailable, match="has not answered") as caught:
            await connection.call("it", alive)
        assert "libvirtd" in caught.value.hint


async def test_a_daemon_that_hangs_is_an_error(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_DEADLINE", 0.1)
    daemon.hangs.clear()
    with pytest.raises(Unavailable, match=r"has not answered for 0\.1 s"):
        async with opened():
            pass
    daemon.hangs.set()


async def test_a_daemon_that_hangs_holds_no_end_up(daemon: Daemon) -> None:
    async with asyncio.timeout(5), opened():
        daemon.stop()
        daemon.runs = True
        daemon.hangs.clear()
        await until(lambda: daemon.dials >= 2, 5)
    daemon.hangs.set()

"""The door over its socket, with the command's own end of the wire."""

import asyncio
import contextlib
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.oci_runtime import OciRuntime
from tests.support.waiting import until
from tests.unit.oci.configs import config
from vmsandbox.errors import InvalidArgument, Unavailable
from vmsandbox.model import ContainerState
from vmsandbox.oci import serving_oci
from vmsandbox.oci_command import wire
from vmsandbox.oci_command.daemon import Connection, Daemon
from vmsandbox.oci_command.errors import CommandError, ConnectionLost

pytestmark = pytest.mark.usefixtures("host")


async def call(daemon: Daemon, name: str, **arguments: Any) -> dict[str, Any]:
    return await asyncio.to_thread(daemon.call, name, **arguments)


async def create(daemon: Daemon, *command: str, **more: Any) -> str:
    wanted = config(process=config()["process"] | {"args": list(command or ("true",))})
    made = await call(daemon, "create", **{"id": "c1", "root": "/run/root", "bundle": "/b", "config": wanted} | more)
    return str(made["container"])


@contextlib.asynccontextmanager
async def opened(daemon: Daemon, name: str, **arguments: Any) -> AsyncIterator[Connection]:
    connection = await asyncio.to_thread(lambda: daemon.open(name, **arguments))
    connection.socket.settimeout(30)
    try:
        yield connection
    finally:
        connection.close()


async def frames(connection: Connection) -> list[tuple[bytes, bytes]]:
    """Return the frames up to the exit status."""
    found = [await asyncio.to_thread(connection.receive)]
    while found[-1][0] != wire.EXIT:
        found.append(await asyncio.to_thread(connection.receive))
    return found


def is_in(runtime: OciRuntime, container: str, state: ContainerState) -> bool:
    return runtime.containers[container].state is state


async def test_the_socket_is_roots_alone_and_goes_with_the_daemon(runtime: OciRuntime, tmp_path: Path) -> None:
    path = tmp_path / "oci.sock"
    path.touch()  # as a daemon that was killed leaves its socket
    async with serving_oci(runtime, path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.is_socket()
    assert not path.exists()


async def test_a_path_that_is_too_long_is_an_error(runtime: OciRuntime, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="cannot be a socket"):
        async with serving_oci(runtime, tmp_path / ("x" * 120)):
            pass


async def test_a_daemon_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost, match=r"vmsandbox serve does not answer at .*: there is no such socket"):
        await call(Daemon(str(tmp_path / "oci.sock")), "state", container="c")


async def test_a_container_has_a_life_in_a_machine_of_its_own(daemon: Daemon, runtime: OciRuntime) -> None:
    container = await create(daemon, "sh", "-c", "cat; echo wrong >&2; exit 7")
    assert await call(daemon, "state", container=container) == {"status": "created"}
    async with opened(daemon, "attach", container=container) as attached:
        await call(daemon, "start", container=container)
        assert await call(daemon, "state", container=container) == {"status": "running"}
        attached.socket.sendall(wire.pack(wire.STDIN, b"typed") + wire.pack(wire.STDIN))
        assert await frames(attached) == [(wire.STDOUT, b"typed"), (wire.STDERR, b"wrong\n"), (wire.EXIT, b"7")]
    assert await call(daemon, "state", container=container) == {"status": "stopped"}
    await call(daemon, "delete", container=container)
    await call(daemon, "delete", container=container)
    assert runtime.sandboxes == {}


async def test_a_container_that_cannot_be_made_leaves_no_machine(daemon: Daemon, runtime: OciRuntime) -> None:
    runtime.errors["create_container"] = InvalidArgument("no such program", hint="name another one")
    with pytest.raises(CommandError, match=r"no such program \(name another one\)"):
        await create(daemon)
    assert runtime.sandboxes == {}


async def test_a_caller_that_is_killed_leaves_no_machine(daemon: Daemon, runtime: OciRuntime) -> None:
    runtime.hang.add("create_container")
    with socket.socket(socket.AF_UNIX) as killed:
        killed.connect(daemon.path)
        request = {"version": 1, "call": "create", "id": "c", "root": "/r", "bundle": "/b", "config": config()}
        killed.sendall(wire.pack_message(request))
        await runtime.begun.wait()
    await until(lambda: runtime.cancelled.is_set() and runtime.sandboxes == {})


async def test_a_container_whose_process_on_the_host_dies_is_killed(daemon: Daemon, runtime: OciRuntime) -> None:
    container = await create(daemon, "sleep", "1000")
    async with opened(daemon, "attach", container=container):
        await call(daemon, "start", container=container)
    await asyncio.wait_for(runtime.processes[container].wait(), 30)


async def test_a_container_goes_on_when_the_daemon_ends(runtime: OciRuntime, tmp_path: Path) -> None:
    path = tmp_path / "oci.sock"
    daemon, first_daemon = Daemon(str(path)), contextlib.AsyncExitStack()
    await first_daemon.enter_async_context(serving_oci(runtime, path))
    container = await create(daemon, "sh", "-c", "read line; echo $line")
    async with opened(daemon, "attach", container=container) as first:
        await call(daemon, "start", container=container)
        await first_daemon.aclose()
        with pytest.raises(ConnectionLost):
            await asyncio.to_thread(first.receive)
    assert runtime.processes[container].process.returncode is None
    async with serving_oci(runtime, path), opened(daemon, "attach", container=container) as second:
        second.socket.sendall(wire.pack(wire.STDIN, b"again\n"))
        assert await frames(second) == [(wire.STDOUT, b"again\n"), (wire.EXIT, b"0")]


async def test_a_container_that_has_ended_meanwhile_tells_its_exit_status(daemon: Daemon, runtime: OciRuntime) -> None:
    container = await create(daemon)
    runtime.end(container, 9)
    async with opened(daemon, "attach", container=container) as attached:
        assert await frames(attached) == [(wire.EXIT, b"9")]


async def test_signals_and_windows_are_passed_on(daemon: Daemon, runtime: OciRuntime) -> None:
    container = await create(daemon, "sh", "-c", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.01; done")
    async with opened(daemon, "attach", container=container) as attached:
        await call(daemon, "start", container=container)
        assert await asyncio.to_thread(attached.receive) == (wire.STDOUT, b"ready\n")
        attached.socket.sendall(wire.pack_window(80, 24) + wire.pack_number(wire.SIGNAL, 15))
        assert (await frames(attached))[-1] == (wire.EXIT, b"4")
    assert runtime.windows == [(80, 24)]


async def test_a_container_that_was_not_started_is_ended_by_a_signal(daemon: Daemon, runtime: OciRuntime) -> None:
    container = await create(daemon)
    await call(daemon, "kill", container=container, signal="SIGKILL")
    with pytest.raises(CommandError, match="container not running"):
        await call(daemon, "kill", container=container, signal="15")


async def test_a_command_has_streams_and_an_exit_status_of_its_own(daemon: Daemon) -> None:
    container = await create(daemon)
    process = config()["process"] | {"args": ["sh", "-c", "cat; exit 5"]}
    async with opened(daemon, "exec", container=container, process=process) as running:
        running.socket.sendall(wire.pack(wire.STDIN, b"in") + wire.pack(wire.STDIN))
        assert await frames(running) == [(wire.STDOUT, b"in"), (wire.EXIT, b"5")]
    with pytest.raises(CommandError, match=r"executable file not found in \$PATH"):
        await call(daemon, "exec", container=container, process=process | {"args": ["missing"]})


async def test_an_end_is_received_by_a_caller_that_still_sends(daemon: Daemon) -> None:
    container = await create(daemon)
    process = config()["process"] | {"args": ["sh", "-c", "exit 5"]}
    async with opened(daemon, "exec", container=container, process=process) as running:
        await asyncio.sleep(0.2)
        for _ in range(3):
            running.socket.sendall(wire.pack(wire.STDIN, b"in"))
            await asyncio.sleep(0.01)
        assert await frames(running) == [(wire.EXIT, b"5")]


async def test_an_error_that_may_pass_is_told_apart(daemon: Daemon, runtime: OciRuntime) -> None:
    container = await create(daemon)
    runtime.errors["start_container"] = Unavailable("the guest is being taken back")
    with pytest.raises(ConnectionLost, match="taken back"):
        await call(daemon, "start", container=container)


async def test_a_defect_is_an_error_of_one_line(daemon: Daemon, runtime: OciRuntime) -> None:
    container = await create(daemon)
    runtime.errors["start_container"] = RuntimeError("a defect")
    with pytest.raises(CommandError, match="RuntimeError: a defect"):
        await call(daemon, "start", container=container)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (wire.pack_message({"version": 2, "call": "state"}), "speaks version 2"),
        (wire.pack_message({"version": 1, "call": "dance"}), "there is no call 'dance'"),
        (wire.pack_message({"version": 1, "call": "start"}), "no container"),
        (wire.pack_message({"version": 1, "call": "create", "config": {}}), "no id"),
        (wire.pack_message({"version": 1, "call": "create", "id": "c"}), "no config.json"),
        (
            wire.pack_message({"version": 1, "call": "create", "id": "c", "config": {"linux": {"namespaces": [1]}}}),
            "malformed",
        ),
        (wire.pack(wire.STDIN, b"x"), "not a request"),
        (wire.pack(wire.MESSAGE, b"{"), "not JSON"),
        (wire.HEADER.pack(wire.MESSAGE, 1 << 30), "longer than"),
    ],
)
async def test_what_is_not_a_request_is_answered_with_an_error(daemon: Daemon, sent: bytes, said: str) -> None:
    def ask() -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connected:
            connected.connect(daemon.path)
            connected.sendall(sent)
            return wire.message(Connection(connected, daemon.path).receive()[1])

    assert said in (await asyncio.to_thread(ask))["error"]


async def test_a_namespace_that_was_filled_late_is_joined_before_the_start(daemon: Daemon, runtime: OciRuntime) -> None:
    container = await create(daemon)
    await call(daemon, "start", container=container, network="/proc/7/ns/net")
    names = [made[0] for made in runtime.calls if made[0] in ("join_network", "start_container")]
    assert names == ["join_network", "start_container"]
    assert ("join_network", runtime.containers[container].sandbox_id, Path("/proc/7/ns/net")) in runtime.calls

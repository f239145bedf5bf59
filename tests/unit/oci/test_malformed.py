"""Documents and frames of other forms than anybody means: errors of their senders, never defects of the daemon."""

import asyncio
import copy
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.oci_runtime import OciRuntime
from tests.unit.oci.configs import config
from vmsandbox.errors import VmsandboxError
from vmsandbox.oci.calls import Calls
from vmsandbox.oci.control_calls import ControlCalls
from vmsandbox.oci.from_oci import process_from_oci
from vmsandbox.oci.pods import Pods
from vmsandbox.oci_command import wire
from vmsandbox.oci_command.daemon import Connection, Daemon
from vmsandbox.sandbox.spec import check_container, check_pod

pytestmark = pytest.mark.usefixtures("host")

DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
OTHERS = (5, -1, 1 << 80, 0.5, True, "", "x", "\0", [], [1], ["x", None], {}, {"x": 1}, [{"x": []}], None, DEEP)
USERS = [{"containerID": 0, "hostID": 200_000, "size": 65_536}]


class Checking(OciRuntime):
    """Holds what is made to the rules, as the service does."""

    async def run_pod_sandbox(self, config: Any) -> str:
        check_pod(config)
        return await super().run_pod_sandbox(config)

    async def create_container(self, sandbox_id: str, config: Any) -> str:
        check_container(config, self.sandboxes[sandbox_id].config)
        return await super().create_container(sandbox_id, config)


def whole() -> dict[str, Any]:
    made = config()
    made["mounts"].append({"destination": "/u", "type": "bind", "source": "/s", "uidMappings": USERS})
    made["linux"] |= {"uidMappings": USERS, "gidMappings": USERS, "devices": [{"path": "/dev/fuse", "type": "c"}]}
    made["linux"]["namespaces"].append({"type": "user"})
    made["hooks"] = {"startContainer": [{"path": "/bin/true"}]}
    return copy.deepcopy(made)


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the ways to all values in a document."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*way, key)
        yield from places(value[key], (*way, key))


def changed(way: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a document with another value at a place."""
    document: Any = whole()
    inner = document
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = value
    return dict(document)


async def test_a_container_of_a_malformed_document_is_an_error_of_its_caller() -> None:
    runtime = Checking()
    calls = Calls(runtime, Pods(runtime))
    for way in places(whole()):
        for value in OTHERS:
            request = {"id": "c1", "root": "/r", "bundle": "/b", "config": changed(way, value)}
            try:
                made = await calls.create(request)
            except VmsandboxError:
                assert not runtime.sandboxes
            except Exception as error:
                raise AssertionError(f"{way}: {value!r}") from error
            else:
                await calls.delete(made)
    await runtime.end_all()


def test_a_malformed_process_of_an_exec_is_an_error_of_its_caller() -> None:
    for way in places(config()["process"]):
        for value in OTHERS:
            try:
                process_from_oci(changed(("process", *way), value)["process"])
            except VmsandboxError:
                continue
            except Exception as error:
                raise AssertionError(f"{way}: {value!r}") from error


@pytest.mark.parametrize("name", ["update", "kill", "state", "delete", "start", "pause", "stats", "processes"])
async def test_malformed_arguments_of_other_calls_are_errors_of_their_caller(name: str) -> None:
    runtime = Checking()
    calls = Calls(runtime, Pods(runtime))
    made = await calls.create({"id": "c1", "root": "/r", "bundle": "/b", "config": config()})
    resources = {"memory": {"limit": 1}, "cpu": {"quota": 1, "cpus": "0"}, "pids": {"limit": 1}, "unified": {"a": "b"}}
    whole_request: dict[str, Any] = {"resources": resources, "signal": "TERM", "all": False, "network": ""}
    for way in places(whole_request):
        for value in OTHERS:
            request: Any = copy.deepcopy(whole_request) | made
            inner = request
            for key in way[:-1]:
                inner = inner[key]
            inner[way[-1]] = value
            try:
                await calls.by_name[name](request)
            except VmsandboxError:
                continue
            except Exception as error:
                raise AssertionError(f"{way}: {value!r}") from error
    assert name in ControlCalls(runtime).by_name or name in calls.by_name
    await runtime.end_all()


BROKEN = (
    wire.pack_number(wire.SIGNAL, 999),
    wire.pack(wire.SIGNAL, b"-9"),
    wire.pack(wire.SIGNAL, b""),
    wire.pack(wire.WINDOW, b"\xff"),
    wire.pack_window(65535, 0),
    wire.pack(b"\0", b"unknown"),
    wire.pack(wire.MESSAGE, b"\xff\xfe"),
    wire.pack(wire.EXIT, b"0"),
    wire.HEADER.pack(wire.STDIN, wire.MOST + 1),
    wire.pack(wire.STDIN)[:3],
)


@pytest.mark.parametrize("sent", BROKEN)
async def test_malformed_frames_of_a_stream_end_it_at_most(daemon: Daemon, sent: bytes) -> None:
    wanted = config(process=config()["process"] | {"args": ["sleep", "1000"]})
    made = await asyncio.to_thread(daemon.call, "create", id="c1", root="/r", bundle="/b", config=wanted)
    attached = await asyncio.to_thread(lambda: daemon.open("attach", **made))
    await asyncio.to_thread(daemon.call, "start", **made)
    attached.socket.sendall(sent)
    attached.socket.shutdown(socket.SHUT_WR)
    attached.socket.settimeout(30)
    while await asyncio.to_thread(attached.socket.recv, 4096):
        pass
    attached.close()
    assert (await asyncio.to_thread(daemon.call, "state", **made))["status"] in ("running", "stopped")
    await asyncio.to_thread(daemon.call, "delete", **made)


async def test_connections_that_say_nothing_keep_nobody_waiting(daemon: Daemon) -> None:
    silent = [socket.socket(socket.AF_UNIX) for _ in range(100)]
    try:
        for each in silent:
            each.connect(daemon.path)
            each.sendall(b"m\0\0")
        wanted = await asyncio.to_thread(lambda: daemon.open("state", container="none"))
        assert isinstance(wanted, Connection) and wanted.answer == {"status": "stopped"}
        wanted.close()
    finally:
        for each in silent:
            each.close()

"""Exec, attach and port-forward in a real machine, through URLs that the CRI socket gives out."""

import asyncio
import contextlib
import hashlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb
from kubernetes.client import Configuration
from kubernetes.stream.ws_client import WSClient

from tests.support.conformance import Serving
from tests.support.conformance_client import Container, Cri, Pod
from tests.support.waiting import until_blocking
from vmsandbox.errors import Unavailable
from vmsandbox.protocol.messages import Stream
from vmsandbox.streaming import client
from vmsandbox.streaming.client import CommandClient, PortConnection, PortForwardClient, Wanted

SOME = random.Random(11).randbytes(8_000_000)
PIPES = Wanted(stdin=True, stdout=True, stderr=True)
TERMINAL = Wanted(stdin=True, stdout=True, tty=True)


def exec_url(container: Container, *command: str, wanted: Wanted = PIPES) -> str:
    request = pb.ExecRequest(container_id=container.id, cmd=command, **streams_of(wanted))
    return str(container.pod.cri.runtime.Exec(request).url)


def attach_url(container: Container, wanted: Wanted = PIPES) -> str:
    request = pb.AttachRequest(container_id=container.id, **streams_of(wanted))
    return str(container.pod.cri.runtime.Attach(request).url)


def streams_of(wanted: Wanted) -> dict[str, bool]:
    return {"stdin": wanted.stdin, "stdout": wanted.stdout, "stderr": wanted.stderr, "tty": wanted.tty}


async def run(container: Container, *command: str, typed: bytes = b"") -> tuple[bytes, bytes, int]:
    """Run a command; what it printed, and its exit code."""
    async with client.command(exec_url(container, *command), PIPES) as running:

        async def type_in() -> None:
            await running.write(typed)
            await running.close_stdin()

        typing = asyncio.create_task(type_in())
        printed = {Stream.STDOUT: bytearray(), Stream.STDERR: bytearray()}
        async for output in running.output():
            printed[output.stream] += output.data
        await typing
        return bytes(printed[Stream.STDOUT]), bytes(printed[Stream.STDERR]), running.exit_code


class Screen:
    """The output that a client has read so far."""

    def __init__(self, running: CommandClient) -> None:
        self._output = running.output()
        self._seen = b""

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(60):
            while text not in self._seen:
                self._seen += (await anext(self._output)).data
        self._seen = self._seen.partition(text)[2]


async def test_a_command_has_both_streams_and_its_exit_code(waiting: Container) -> None:
    assert await run(waiting, "sh", "-c", "echo out; echo err >&2; exit 7") == (b"out\n", b"err\n", 7)


async def test_what_goes_in_and_comes_out_is_the_same(waiting: Container) -> None:
    digest = hashlib.sha256(SOME).hexdigest()
    out, _, _ = await run(waiting, "sha256sum", typed=SOME)
    assert out.split()[0].decode() == digest
    out, _, code = await run(waiting, "head", "-c", str(len(SOME)), "/dev/zero")
    assert (hashlib.sha256(out).digest(), code) == (hashlib.sha256(bytes(len(SOME))).digest(), 0)


async def test_a_terminal_is_resized_interrupted_and_ended_by_its_control_characters(waiting: Container) -> None:
    script = (
        "echo ready; until [ \"$(stty size)\" = '41 133' ]; do sleep 0.1; done; echo resized; echo $TERM; cat; "
        "echo ended; trap 'echo interrupted; exit 5' INT; echo trapped; while :; do sleep 0.1; done"
    )
    url = exec_url(waiting, "sh", "-c", script, wanted=TERMINAL)
    async with client.command(url, TERMINAL) as running:
        screen = Screen(running)
        await screen.until(b"ready\r\n")
        await running.resize(133, 41)
        await screen.until(b"resized\r\nxterm\r\n")
        await running.write(b"typed\n")
        await screen.until(b"typed\r\ntyped\r\n")
        await running.write(b"\x04")
        await screen.until(b"trapped")
        await running.write(b"\x03")
        await screen.until(b"interrupted")
        async for _ in running.output():
            pass
        assert running.exit_code == 5


async def test_a_command_ends_with_its_client(waiting: Container) -> None:
    async with client.command(exec_url(waiting, "sh", "-c", "echo up; sleep 4321"), PIPES) as running:
        await Screen(running).until(b"up")
        assert b"sleep 4321" in waiting.exec("ps").stdout
    await until_blocking(lambda: b"sleep 4321" not in waiting.exec("ps").stdout)


async def test_many_commands_run_at_once(waiting: Container) -> None:
    results = await asyncio.gather(*(run(waiting, "sh", "-c", f"echo {n}; exit {n}") for n in range(12)))
    assert results == [(f"{n}\n".encode(), b"", n) for n in range(12)]


async def test_the_client_of_python_kubernetes_runs_a_command(waiting: Container) -> None:
    url = exec_url(waiting, "sh", "-c", "read x; echo got $x; exit 4").replace("http", "ws", 1)

    def work() -> tuple[str, int]:
        ws = WSClient(Configuration(), url, {"sec-websocket-protocol": "v4.channel.k8s.io"}, capture_all=True)
        ws.write_stdin("hello\n")
        ws.run_forever(timeout=60)
        ended = (ws.read_stdout(), ws.returncode)
        ws.sock.shutdown()
        return ended

    assert await asyncio.to_thread(work) == ("got hello\n", 4)


async def test_several_clients_attach_and_detaching_ends_nothing(pod: Pod) -> None:
    container = pod.start("cat", stdin=True)
    async with client.command(attach_url(container), PIPES) as staying:
        screen = Screen(staying)
        async with client.command(attach_url(container), PIPES) as leaving:
            await leaving.write(b"from the one\n")
            await Screen(leaving).until(b"from the one\n")
            await screen.until(b"from the one\n")
        await staying.write(b"from the other\n")
        await screen.until(b"from the other\n")
    assert container.status().state == pb.CONTAINER_RUNNING
    container.remove()


async def test_with_stdin_once_the_first_client_ends_the_input(pod: Pod) -> None:
    container = pod.start("cat", stdin=True, stdin_once=True)
    async with client.command(attach_url(container), PIPES) as attached:
        await attached.write(b"all of it\n")
        await attached.close_stdin()
        assert b"".join([output.data async for output in attached.output()]) == b"all of it\n"
        assert attached.exit_code == 0
    await until_blocking(lambda: container.status().state == pb.CONTAINER_EXITED)
    container.remove()


@pytest.fixture
async def page(pod: Pod) -> AsyncIterator[bytes]:
    """A web server that only the pod itself can reach; what it serves at /page."""
    content = hashlib.sha256(SOME).hexdigest().encode() * 20_000
    script = "mkdir /www; cat > /www/page; echo stored; exec httpd -f -p 127.0.0.1:8080 -h /www"
    container = pod.start("sh", "-c", script, stdin=True, stdin_once=True)
    async with client.command(attach_url(container), PIPES) as attached:
        await attached.write(content)
        await attached.close_stdin()
        await Screen(attached).until(b"stored")
    yield content
    container.remove()


def forward_url(pod: Pod) -> str:
    return str(pod.cri.runtime.PortForward(pb.PortForwardRequest(pod_sandbox_id=pod.id)).url)


async def fetch(forward: PortForwardClient) -> bytes:
    """The page, with its head."""
    for _ in range(50):  # The server in the guest is starting.
        got = bytearray()
        try:
            async with forward.connect(8080) as connection:
                await connection.write(b"GET /page HTTP/1.0\r\n\r\n")
                while data := await connection.read():
                    got += data
        except Unavailable:
            await asyncio.sleep(0.2)
        else:
            return bytes(got)
    raise AssertionError("the web server does not start")


async def test_a_port_of_the_pods_localhost_is_forwarded(pod: Pod, page: bytes) -> None:
    async with client.port_forward(forward_url(pod)) as forward:
        for answer in await asyncio.gather(*(fetch(forward) for _ in range(3))):
            assert answer.endswith(b"\r\n\r\n" + page)


async def stuff(connection: PortConnection) -> None:
    """Write until nothing is taken any more."""
    for _ in range(1000):
        try:
            async with asyncio.timeout(3):
                await connection.write(bytes(64 * 1024))
        except TimeoutError:
            return
    raise AssertionError("it takes everything in")


async def test_a_port_that_takes_nothing_holds_up_its_own_connection_alone(pod: Pod, page: bytes) -> None:
    container = pod.start("nc", "-l", "-p", "8081", "-e", "sleep", "1000")
    await until_blocking(lambda: b":1F91 " in container.exec("sh", "-c", "cat /proc/net/tcp*").stdout)
    async with client.port_forward(forward_url(pod)) as forward, forward.connect(8081) as stuck:
        await stuff(stuck)
        async with asyncio.timeout(20):
            assert (await fetch(forward)).endswith(b"\r\n\r\n" + page)
    container.remove()


async def test_a_port_where_nobody_listens_is_told(pod: Pod) -> None:
    async with client.port_forward(forward_url(pod)) as forward, forward.connect(1) as connection:
        with pytest.raises(Unavailable):
            await connection.read()


def test_what_does_not_run_gives_no_url(cri: Cri, pod: Pod) -> None:
    created = pod.create("true")
    with pytest.raises(grpc.RpcError) as refused:
        exec_url(created, "true")
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert attach_url(created)  # a client may wait for what it is going to print
    created.start()
    created.wait()
    with pytest.raises(grpc.RpcError) as refused:
        attach_url(created)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    created.remove()
    with pytest.raises(grpc.RpcError) as refused:
        cri.runtime.PortForward(pb.PortForwardRequest(pod_sandbox_id="0" * 32))
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


def held_by(daemon: Serving) -> tuple[int, int]:
    """Descriptors and threads of the daemon, a child of the tini that was started."""
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            lines = status.read_text().splitlines()
            if f"PPid:\t{daemon.process.pid}" in lines and b"vmsandbox" in (status.parent / "cmdline").read_bytes():
                return len(os.listdir(status.parent / "fd")), len(os.listdir(status.parent / "task"))
    raise AssertionError("the daemon does not run")


async def test_clients_that_leave_in_the_middle_leave_nothing_behind(daemon: Serving, waiting: Container) -> None:
    await asyncio.gather(*(run(waiting, "true") for _ in range(3)))
    await until_blocking(lambda: b"yes" not in waiting.exec("ps").stdout)
    before = held_by(daemon)
    for _ in range(3):
        async with client.command(exec_url(waiting, "yes"), PIPES) as running:
            await anext(running.output())
    await until_blocking(lambda: b"yes" not in waiting.exec("ps").stdout)
    await until_blocking(lambda: held_by(daemon) <= before)

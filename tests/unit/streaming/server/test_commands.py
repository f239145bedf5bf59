"""Exec and attach over real sockets: commands are processes of this host."""

import asyncio
import contextlib
import hashlib
import random
import socket
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import pytest

from tests.fakes.streaming import LocalProcess, LocalTargets
from tests.support.streaming import PATTERN, TRANSPORTS, exec_of, run, wanted_of
from tests.support.waiting import until
from vmsandbox.config import StreamingConfig
from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.model import ExecRequest
from vmsandbox.streaming import client
from vmsandbox.streaming.io import wire
from vmsandbox.streaming.io.wire import Wire
from vmsandbox.streaming.protocol.spdy import frames
from vmsandbox.streaming.server import StreamingServer
from vmsandbox.streaming.server.commands import serve_command


async def test_a_command_gives_both_streams_and_its_exit_code(running: StreamingServer) -> None:
    assert await run(running, exec_of("sh", "-c", "echo out; echo err >&2; exit 7")) == (b"out\n", b"err\n", 7)


@TRANSPORTS
async def test_input_ends_and_comes_back_whole(running: StreamingServer, over: ModuleType) -> None:
    out, _, code = await run(running, exec_of("cat", stdin=True), PATTERN, over)
    assert out == PATTERN
    assert code == 0


async def test_a_terminal_has_its_window_and_takes_control_characters(running: StreamingServer) -> None:
    script = (
        "echo ready; while [ \"$(stty size)\" != '41 133' ]; do sleep 0.02; done; echo resized; cat; echo ended; "
        "trap 'echo interrupted; exit 5' INT; echo trapped; while :; do sleep 0.02; done"
    )
    request = exec_of("sh", "-c", script, stdin=True, tty=True)
    async with client.command(running.exec_url(request), wanted_of(request)) as command:
        output = command.output()
        seen = b""

        async def until_seen(text: bytes) -> None:
            nonlocal seen
            async with asyncio.timeout(10):
                while text not in seen:
                    seen += (await anext(output)).data

        await until_seen(b"ready\r\n")
        await command.resize(133, 41)
        await until_seen(b"resized")
        await command.write(b"typed\n")
        await until_seen(b"typed\r\ntyped\r\n")
        await command.write(b"\x04")  # Ctrl-D
        await until_seen(b"ended")
        await until_seen(b"trapped")
        await command.write(b"\x03")  # Ctrl-C
        await until_seen(b"interrupted")
        async for _ in output:
            pass
        assert command.exit_code == 5


async def test_a_window_that_could_not_be_told_is_not_the_last(
    running: StreamingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    async def resize(self: LocalProcess, columns: int, rows: int) -> None:
        sizes.append((columns, rows))
        raise Unavailable("the connection to the guest was lost meanwhile")

    monkeypatch.setattr(LocalProcess, "resize", resize)
    request = exec_of("cat", stdin=True, tty=True)
    async with client.command(running.exec_url(request), wanted_of(request)) as command:
        for size in ((80, 24), (133, 41)):
            await command.resize(*size)
            await until(lambda size=size: sizes[-1:] == [size])  # type: ignore[misc]


async def test_what_fails_before_the_command_runs_is_told(running: StreamingServer, targets: LocalTargets) -> None:
    @contextlib.asynccontextmanager
    async def failing(_: ExecRequest) -> AsyncIterator[None]:
        raise Unavailable("the machine is gone")
        yield  # noqa: V201 - makes it a generator

    targets.exec = failing  # type: ignore[method-assign,assignment]
    with pytest.raises(FailedPrecondition, match="the machine is gone"):
        await run(running, exec_of("true"))


async def test_a_client_that_vanishes_ends_its_command(running: StreamingServer, targets: LocalTargets) -> None:
    request = exec_of("sleep", "1000")
    async with client.command(running.exec_url(request), wanted_of(request)):
        await until(lambda: len(targets.processes) == 1)
    await until(lambda: targets.ended == 1)
    assert targets.processes[0].process.returncode is not None


async def test_a_client_that_vanishes_is_noticed_also_while_its_input_is_not_taken(
    running: StreamingServer, targets: LocalTargets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HEARTBEAT", 0.2)
    request = exec_of("sleep", "1000", stdin=True)
    async with client.command(running.exec_url(request), wanted_of(request)) as command:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.7):
                while True:
                    await command.write(bytes(100_000))
    await until(lambda: targets.ended == 1)


async def test_a_client_that_takes_nothing_holds_its_command_back_and_vanishes_as_any_other(
    running: StreamingServer, targets: LocalTargets
) -> None:
    request = exec_of("sh", "-c", "head -c 50000000 /dev/zero; sleep 1000")
    async with client.command(running.exec_url(request), wanted_of(request)) as command:
        assert (await anext(command.output())).data
        taken = -1
        while taken != targets.processes[0].taken:
            taken = targets.processes[0].taken
            await asyncio.sleep(0.1)
        assert taken < 20_000_000, "what sockets and buffers hold"
    await until(lambda: targets.ended == 1)


async def test_an_idle_connection_is_ended(targets: LocalTargets) -> None:
    async with StreamingServer(targets, StreamingConfig(), idle_timeout=0.3).running() as streaming:
        request = exec_of("sleep", "1000")
        async with client.command(streaming.exec_url(request), wanted_of(request)) as command:
            with contextlib.suppress(Unavailable):
                async for _ in command.output():
                    pass
            with pytest.raises(Unavailable):
                _ = command.exit_code
        await until(lambda: len(asyncio.all_tasks()) == 1)
        assert targets.ended == len(targets.processes)


async def test_a_connection_is_not_idle_while_a_command_prints_that_reads_no_input(targets: LocalTargets) -> None:
    """The command's input fills up, and the client is not read."""
    async with StreamingServer(targets, StreamingConfig(), idle_timeout=1).running() as streaming:
        printing = "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $n; sleep 0.2; done"
        output, _, code = await run(streaming, exec_of("sh", "-c", printing, stdin=True), PATTERN)
        assert (output.split()[-1], code) == (b"12", 0)
        request = exec_of("sleep", "1000", stdin=True)
        async with client.command(streaming.exec_url(request), wanted_of(request)) as command:
            writing = asyncio.create_task(command.write(PATTERN))
            async with asyncio.timeout(10):
                with pytest.raises(Unavailable):
                    async for _ in command.output():
                        pass
                    _ = command.exit_code
            await asyncio.gather(writing, return_exceptions=True)


async def test_the_end_of_the_server_ends_its_clients_commands(targets: LocalTargets) -> None:
    async with StreamingServer(targets, StreamingConfig()).running() as streaming:
        request = exec_of("sleep", "1000")
        context = client.command(streaming.exec_url(request), wanted_of(request))
        command = await context.__aenter__()
        await until(lambda: len(targets.processes) == 1)
    assert targets.ended == 1
    with contextlib.suppress(Unavailable):
        async for _ in command.output():
            pass
    await context.__aexit__(None, None, None)


async def in_thread(work: Callable[[], object]) -> object:
    return await asyncio.to_thread(work)


async def test_a_client_that_opens_no_streams_starts_nothing(
    running: StreamingServer, targets: LocalTargets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmsandbox.streaming.server.commands.serve_command.__kwdefaults__", {"creation_timeout": 0.3})
    url = running.exec_url(exec_of("true"))
    host, port = url.split("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    path = "/" + url.split("/", 3)[3]
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n".encode()
    )
    async with asyncio.timeout(5):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        assert await reader.read() == frames.goaway(0, frames.GoAwayStatus.INTERNAL_ERROR)
    writer.close()
    assert not targets.processes


async def test_50_commands_at_once(running: StreamingServer, targets: LocalTargets) -> None:
    async with asyncio.timeout(60):
        results = await asyncio.gather(*(run(running, exec_of("sh", "-c", f"echo {n}; exit {n}")) for n in range(50)))
    assert results == [(f"{n}\n".encode(), b"", n) for n in range(50)]


@TRANSPORTS
async def test_10_megabytes_each_way_are_the_same_afterwards(running: StreamingServer, over: ModuleType) -> None:
    data = random.Random(7).randbytes(10_000_000)
    out, _, _ = await run(running, exec_of("sha256sum", stdin=True), data, over)
    assert out.split()[0].decode() == hashlib.sha256(data).hexdigest()
    out, _, _ = await run(running, exec_of("head", "-c", "10000000", "/dev/zero"), over=over)
    assert out == bytes(10_000_000)


async def test_a_defect_is_not_taken_for_a_client_that_hung_up(targets: LocalTargets) -> None:
    class Broken:
        over = False

        def receive(self, data: bytes) -> list[object]:
            raise RuntimeError("a defect")

        def take_output(self) -> bytes:
            return b""

    mine, other = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=mine)
    broken: Any = Wire(reader, writer, Broken())  # type: ignore[type-var]
    with pytest.raises(RuntimeError, match="a defect"):
        await serve_command(broken, targets.exec(exec_of("true")))
    writer.close()
    await writer.wait_closed()
    other.close()

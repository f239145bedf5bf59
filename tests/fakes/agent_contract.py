"""The contract of an agent: one suite for the fake and for the real one.

A module that runs it has a fixture `agent_transport`: the way to an agent that runs the commands in `PROGRAMS` from an
image with the serial `image`. Several tests may share the agent: each names its containers differently.
"""

import asyncio
import hashlib
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from tests.fakes.processes import FakeProcess, Program, cat
from tests.guest.client import process_spec, runtime_spec
from tests.support.waiting import until
from vmsandbox.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.session import RunState, Session
from vmsandbox.guest.streams.output import OutputStream
from vmsandbox.guest.transport.connection import Transport
from vmsandbox.protocol.messages import GUEST, ConfigureGuest, CreateContainer, Event, Exec, Exit, Stream

PRINT = "echo out; echo err >&2; exit 3"
CAT = "cat"
SLEEP = "exec sleep 1000"
TRAP = "trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.01; done"
BURST = "dd if=/dev/zero bs=65536 count=64 2>/dev/null | tr '\\0' x; echo end"
BURST_LENGTH = 4 * 1024 * 1024
CLOSE_STDIN = "exec 0<&-; exit 5"
TICK = "i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo line $i; done"


async def _print(process: FakeProcess) -> int:
    await process.write(b"out\n")
    await process.write(b"err\n", Stream.STDERR)
    return 3


async def _trap(process: FakeProcess) -> int:
    await process.write(b"ready\n")
    await process.signals.get()
    await process.write(b"term\n")
    return 7


async def _burst(process: FakeProcess) -> int:
    await process.write(b"x" * BURST_LENGTH + b"end\n")
    return 0


async def _tick(process: FakeProcess) -> int:
    for number in range(1, 2001):
        await process.write(b"line %d\n" % number)
    return 0


async def _five(_: FakeProcess) -> int:
    return 5


PROGRAMS: dict[tuple[str, ...], Program] = {
    (shell, "-c", script): program
    for shell in ("/bin/sh", "sh")
    for script, program in {
        PRINT: _print, CAT: cat, TRAP: _trap, BURST: _burst, TICK: _tick, CLOSE_STDIN: _five,
    }.items()
}  # fmt: skip


class Host:
    """The host's end under test, and the events that it was given."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.container = f"c-{secrets.token_hex(4)}"
        self.agent_is_gone = False
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.session = self.new_session()
        self.client = GuestClient(self.session)

    def new_session(self) -> Session:
        return Session(self.transport, "pod", self._take)

    def creation(self, script: str, **more: Any) -> CreateContainer:
        return CreateContainer(self.container, "image", runtime_spec(script), **more)

    async def run(self, script: str, client: GuestClient | None = None, **more: Any) -> None:
        await (client or self.client).create_container(self.creation(script, **more))
        await (client or self.client).start_container(self.container)

    def output(self, stream: Stream = Stream.STDOUT, *, exec_id: str = "", offset: int = 0) -> OutputStream:
        return self.client.output(self.container, stream, exec_id=exec_id, offset=offset)

    async def exit(self) -> Exit:
        return await self.events.get()

    async def clean_up(self) -> None:
        """Remove the container, by a session that works even if the test's own has ended."""
        if not self.agent_is_gone:
            async with self.new_session() as session:
                await session.connect(30)
                await GuestClient(session).delete_container(self.container)

    async def _take(self, event: Event) -> None:
        if event.container_id in (self.container, GUEST):
            await self.events.put(event)


async def read_all(stream: OutputStream) -> bytes:
    data = b""
    async for chunk in stream:
        data += chunk
        stream.acknowledge(stream.offset)
    return data


class AgentContract:
    """Inherit it in a test module."""

    @pytest.fixture
    async def host(self, agent_transport: Transport) -> AsyncIterator[Host]:
        host = Host(agent_transport)
        async with host.session:
            await host.session.connect(30)
            yield host
        await host.clean_up()

    async def test_the_agent_introduces_itself(self, host: Host) -> None:
        assert host.session.peer is not None
        assert host.session.peer.build
        assert host.session.peer.boot_id
        assert host.session.state is RunState.CONNECTED

    async def test_cpus_of_the_machine_come_into_use_and_go(self, host: Host) -> None:
        """The machine of the module has several CPUs."""
        used = await host.client.use_processors()
        for count in (2, 1):
            assert await host.client.use_processors(count) == await host.client.use_processors() == count
        with pytest.raises(FailedPrecondition, match=r"the machine has .* CPUs, and cannot use 500"):
            await host.client.use_processors(500)
        assert await host.client.use_processors(used) == used

    async def test_output_comes_by_stream_and_the_end_is_told(self, host: Host) -> None:
        await host.run(PRINT)
        async with host.output() as out, host.output(Stream.STDERR) as err:
            assert tuple(await asyncio.gather(read_all(out), read_all(err))) == (b"out\n", b"err\n")
        ended = await host.exit()
        assert (ended.container_id, ended.exec_id, ended.exit_code) == (host.container, "", 3)

    async def test_input_reaches_the_process_up_to_its_end(self, host: Host) -> None:
        await host.run(CAT, stdin=True)
        data = bytes(range(256)) * 4096
        async with host.output() as out, host.client.input(host.container) as stdin:
            reading = asyncio.create_task(read_all(out))
            for start in range(0, len(data), 100_000):
                await stdin.write(data[start : start + 100_000])
            await stdin.close_write()
            await stdin.drain()
            assert hashlib.sha256(await reading).digest() == hashlib.sha256(data).digest()
        assert (await host.exit()).exit_code == 0

    async def test_writing_to_a_process_that_has_ended_is_refused(self, host: Host) -> None:
        await host.run(CLOSE_STDIN, stdin=True)
        await host.exit()
        async with host.client.input(host.container) as stdin:
            with pytest.raises(FailedPrecondition, match="does not read"):
                while True:
                    await stdin.write(b"x" * 65536)

    async def test_a_burst_read_slowly_arrives_whole_and_in_order(self, host: Host) -> None:
        await host.run(BURST)
        async with host.output() as out:
            data = b""
            async for chunk in out:
                data += chunk
                await asyncio.sleep(0)
                out.acknowledge(out.offset)
        assert data == b"x" * BURST_LENGTH + b"end\n"

    async def test_a_stream_opened_anew_goes_on_where_it_was_acknowledged(self, host: Host) -> None:
        await host.run(TICK)
        async with host.output() as out:
            first = await anext(out)
            out.acknowledge(5)
        async with host.output(offset=5) as out:
            rest = await read_all(out)
        whole = b"".join(b"line %d\n" % number for number in range(1, 2001))
        assert whole.startswith(first)
        assert first[:5] + rest == whole

    async def test_a_new_controller_replaces_the_old_one_and_misses_nothing(self, host: Host) -> None:
        await host.run(TRAP)
        async with host.new_session() as session, asyncio.TaskGroup() as tasks:
            await session.connect(30)
            reason = await host.session.wait_closed()
            assert "replaced by a newer controller" in str(reason)
            client = GuestClient(session)
            async with client.output(host.container, Stream.STDOUT) as out:
                reading = tasks.create_task(read_all(out))
                await until(lambda: out.offset >= len(b"ready\n"))
                await client.signal_container(host.container, signal.SIGTERM)
                assert await reading == b"ready\nterm\n"
            assert (await host.exit()).exit_code == 7

    async def test_an_event_that_was_not_handled_comes_again(self, host: Host) -> None:
        handled = asyncio.Event()

        async def never(_: Event) -> None:
            handled.set()
            await asyncio.Event().wait()

        async with Session(host.transport, "pod", never) as session:
            await session.connect(30)
            client = GuestClient(session)
            await host.run(PRINT, client)
            await handled.wait()
        async with host.new_session() as session:
            await session.connect(30)
            assert (await host.exit()).exit_code == 3

    async def test_an_exec_has_streams_and_an_end_of_its_own(self, host: Host) -> None:
        await host.run(SLEEP)
        await host.client.exec(Exec(host.container, "e1", process_spec(PRINT)))
        async with host.output(exec_id="e1") as out:
            assert await read_all(out) == b"out\n"
        ended = await host.exit()
        assert (ended.exec_id, ended.exit_code) == ("e1", 3)
        await host.client.signal_container(host.container, signal.SIGKILL)
        assert (await host.exit()).exit_code == 137

    async def test_commands_run_in_the_guest_itself_where_that_is_allowed(self, host: Host) -> None:
        for number, debug in enumerate((False, True, False)):
            command = Exec(GUEST, f"g{number}", process_spec(PRINT) | {"args": ["sh", "-c", PRINT]})
            await host.client.configure(ConfigureGuest("pod", time.time_ns(), debug=debug))
            if not debug:
                with pytest.raises(FailedPrecondition, match="without commands"):
                    await host.client.exec(command)
                continue
            await host.client.exec(command)
            async with host.client.output(GUEST, Stream.STDOUT, exec_id="g1") as out:
                assert await read_all(out) == b"out\n"
            async with host.client.output(GUEST, Stream.STDERR, exec_id="g1") as err:
                assert await read_all(err) == b"err\n"
            ended = await host.exit()
            assert (ended.container_id, ended.exec_id, ended.exit_code) == (GUEST, "g1", 3)

    async def test_many_requests_run_side_by_side(self, host: Host) -> None:
        await host.run(SLEEP)
        listings = await asyncio.gather(*(host.client.list_containers() for _ in range(200)))
        assert all(host.container in {state.container_id for state in listing} for listing in listings)

    async def test_refusals_are_errors_of_their_class(self, host: Host) -> None:
        await host.run(SLEEP)
        refused: list[tuple[type[Exception], Awaitable[None]]] = [
            (NotFound, host.client.start_container("nobody")),
            (AlreadyExists, host.client.create_container(host.creation(SLEEP))),
            (FailedPrecondition, host.client.start_container(host.container)),
            (FailedPrecondition, host.client.resize(host.container, 80, 25)),
        ]
        for kind, request in refused:
            with pytest.raises(kind):
                await request

    async def test_a_port_of_the_pod_is_reached_with_half_close(self, host: Host, pod_port: int) -> None:
        async with host.client.port(pod_port) as port:
            await port.write(b"a" * 100_000)
            await port.close_write()
            data = b""
            while chunk := await port.read():
                data += chunk
        assert data == b"a" * 100_000

    async def test_a_port_that_nobody_listens_on_is_unavailable(self, host: Host) -> None:
        with pytest.raises(Unavailable):
            async with host.client.port(1):
                pass

    async def test_shutting_down_ends_the_session(self, host: Host) -> None:
        host.agent_is_gone = True
        await host.client.shutdown()
        assert host.session.state in (RunState.LOST, RunState.CLOSED)

    @pytest.fixture
    async def pod_port(self) -> AsyncIterator[int]:
        """A TCP server on the localhost that the agent dials, which echoes."""

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read())
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        yield server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()

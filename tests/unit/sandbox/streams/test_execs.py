"""Commands in a container: their streams, their ends, and what becomes of them when their caller leaves."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.processes import FakeProcess, cat
from tests.fakes.transport import UnixTransport
from tests.guest.client import runtime_spec
from tests.support.waiting import until
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, ResourceExhausted, Unavailable
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.session import Session
from vmsandbox.model import ContainerConfig, ContainerMetadata, ImageConfig
from vmsandbox.protocol.messages import CreateContainer, Event, Exec, Exit, Stream, User
from vmsandbox.sandbox.spec import given_user
from vmsandbox.sandbox.streams import execs
from vmsandbox.sandbox.streams.exec_process import ExecProcess
from vmsandbox.sandbox.streams.execs import Execs
from vmsandbox.state import ContainerRecord

RECORD = ContainerRecord("c1", "s1", ContainerConfig(ContainerMetadata("c"), "image"), "i", "i", ImageConfig(), 0, "")


async def read(process: ExecProcess, stream: Stream = Stream.STDOUT) -> bytes:
    return b"".join([data async for data in process.output(stream)])


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[FakeAgent]:
    async with FakeAgent(tmp_path) as agent:
        agent.programs[("cat",)] = cat
        yield agent


@pytest.fixture
async def running(agent: FakeAgent, tmp_path: Path) -> AsyncIterator[Execs]:
    known: list[Execs] = []

    async def handle(event: Event) -> None:
        assert isinstance(event, Exit)
        known[0].exited(event)

    async with Session(UnixTransport(tmp_path), "pod", handle) as session:
        await session.connect(10)
        client = GuestClient(session)
        known.append(Execs(client))
        await client.create_container(CreateContainer("c1", "image", runtime_spec("sleep")))
        await client.start_container("c1")
        yield known[0]
        await known[0].close()


def program(agent: FakeAgent, name: str) -> Callable[[Callable[[FakeProcess], Awaitable[int]]], None]:
    """Say what the command of that name does."""

    def take(body: Callable[[FakeProcess], Awaitable[int]]) -> None:
        agent.programs[(name,)] = body

    return take


def fake_of(agent: FakeAgent) -> FakeProcess:
    """The command that runs, as in the fake agent."""
    (found,) = [process for (_, exec_id), process in agent.processes.items() if exec_id]
    return found


async def test_a_command_has_its_streams_and_its_exit_code(agent: FakeAgent, running: Execs) -> None:
    @program(agent, "both")
    async def both(process: FakeProcess) -> int:
        await process.write(b"out")
        await process.write(b"err", Stream.STDERR)
        return 7

    async with running.open(RECORD, "pod", ("both",)) as process:
        assert await asyncio.gather(read(process), read(process, Stream.STDERR)) == [b"out", b"err"]
        assert await process.wait() == 7
        assert process.finished


async def test_input_goes_in_and_ends(running: Execs) -> None:
    async with running.open(RECORD, "pod", ("cat",), stdin=True) as process:
        reading = asyncio.create_task(read(process))
        for _ in range(20):
            await process.write(b"x" * 50_000)
        await process.close_stdin()
        assert await reading == b"x" * 1_000_000
        assert await read(process, Stream.STDERR) == b""
        assert await process.wait() == 0


async def test_a_command_without_input_takes_none(running: Execs) -> None:
    async with running.open(RECORD, "pod", ("cat",)) as process:
        with pytest.raises(FailedPrecondition):
            await process.write(b"x")
        await process.close_stdin()
        assert await read(process) == b""


async def test_a_terminal_has_a_window_a_kind_and_one_stream(agent: FakeAgent, running: Execs) -> None:
    async with running.open(RECORD, "pod", ("cat",), stdin=True, tty=True) as process:
        assert process.outputs == (Stream.STDOUT,)
        await process.resize(80, 24)
        assert fake_of(agent).size == (80, 24)
        (request,) = [request for request in agent.requests if isinstance(request, Exec)]
        assert request.tty
        assert "TERM=xterm" in request.process["env"]


async def test_a_command_that_prints_nothing_and_is_forgotten_at_once_has_ended(
    agent: FakeAgent, running: Execs
) -> None:
    @program(agent, "true")
    async def true(_: FakeProcess) -> int:
        return 0

    async with running.open(RECORD, "pod", ("true",)) as process:
        assert await process.wait() == 0
        for key in [key for key in agent.processes if key[1]]:
            del agent.processes[key]  # As the real agent does when the exit is acknowledged.
        assert await read(process) == b""
        assert await read(process, Stream.STDERR) == b""
    assert not running._clearing


async def test_a_caller_who_leaves_has_the_command_hang_up(agent: FakeAgent, running: Execs) -> None:
    async with running.open(RECORD, "pod", ("anything",)) as process:
        fake = fake_of(agent)
    assert await process.wait() == 128 + 1, "SIGHUP"
    assert not fake.killed.is_set()


async def test_a_command_that_ignores_it_is_killed(agent: FakeAgent, running: Execs) -> None:
    @program(agent, "stubborn")
    async def stubborn(process: FakeProcess) -> int:
        while True:
            await process.signals.get()

    async with running.open(RECORD, "pod", ("stubborn",), grace=0.1) as process:
        pass
    assert await process.wait() == 128 + 9


async def test_what_a_left_command_had_printed_is_taken_so_that_the_agent_forgets_it(
    agent: FakeAgent, running: Execs
) -> None:
    @program(agent, "chatty")
    async def chatty(process: FakeProcess) -> int:
        await process.write(b"x" * 200_000)
        return 128 + await process.signals.get()

    async with running.open(RECORD, "pod", ("chatty",)) as process:
        await anext(process.output(Stream.STDOUT))
        fake = fake_of(agent)
    await until(lambda: not running._clearing)
    assert not fake.outputs[Stream.STDOUT].buffer
    assert not running._running


async def test_a_command_whose_caller_left_after_its_end_is_cleared_too(agent: FakeAgent, running: Execs) -> None:
    @program(agent, "quick")
    async def quick(process: FakeProcess) -> int:
        await process.write(b"unread")
        return 0

    async with running.open(RECORD, "pod", ("quick",)) as process:
        await process.wait()
        fake = fake_of(agent)
    await until(lambda: not running._clearing)
    assert not fake.outputs[Stream.STDOUT].buffer


async def test_output_that_is_not_read_holds_the_command_back(agent: FakeAgent, running: Execs) -> None:
    written = 0

    @program(agent, "endless")
    async def endless(process: FakeProcess) -> int:
        nonlocal written
        while True:
            await process.write(b"x" * 10_000)
            written += 10_000

    async with running.open(RECORD, "pod", ("endless",), grace=0) as process:
        output = process.output(Stream.STDOUT)
        await anext(output)
        seen = -1
        while seen != written:
            seen = written
            await asyncio.sleep(0.05)
        assert written < 2_000_000, "what the buffers on the way hold"
        for _ in range(100):
            await anext(output)
        assert written > seen
        await output.aclose()


async def test_the_end_of_the_machine_ends_the_wait(running: Execs) -> None:
    async with running.open(RECORD, "pod", ("anything",)) as process:
        running.fail(Unavailable("the machine died"))
        with pytest.raises(Unavailable, match="the machine died"):
            await process.wait()


async def test_a_command_that_cannot_be_started_leaves_nothing(agent: FakeAgent, running: Execs) -> None:
    agent.processes["c1", ""].exit_code = 0
    with pytest.raises(FailedPrecondition):
        async with running.open(RECORD, "pod", ("true",)):
            pass
    assert not running._running
    assert not running._clearing


async def test_a_synchronous_command_in_time(agent: FakeAgent, running: Execs) -> None:
    @program(agent, "both")
    async def both(process: FakeProcess) -> int:
        await process.write(b"out")
        await process.write(b"err", Stream.STDERR)
        return 3

    result = await running.run(RECORD, "pod", ("both",), 10)
    assert (result.stdout, result.stderr, result.exit_code) == (b"out", b"err", 3)


async def test_a_synchronous_command_that_takes_too_long_is_killed(agent: FakeAgent, running: Execs) -> None:
    with pytest.raises(DeadlineExceeded):
        await running.run(RECORD, "pod", ("forever",), 0.2)
    fake = fake_of(agent)
    await until(fake.killed.is_set)
    await until(lambda: not running._clearing)


async def test_a_synchronous_command_that_prints_too_much_is_killed(
    agent: FakeAgent, running: Execs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execs, "OUTPUT_LIMIT", 100_000)

    @program(agent, "endless")
    async def endless(process: FakeProcess) -> int:
        while True:
            await process.write(b"x" * 10_000)

    with pytest.raises(ResourceExhausted):
        await running.run(RECORD, "pod", ("endless",), 0)
    await until(lambda: not running._clearing)


async def test_many_commands_at_once(agent: FakeAgent, running: Execs) -> None:
    @program(agent, "hello")
    async def hello(process: FakeProcess) -> int:
        await process.write(b"hello")
        return 0

    results = await asyncio.gather(*(running.run(RECORD, "pod", ("hello",), 30) for _ in range(50)))
    assert [result.stdout for result in results] == [b"hello"] * 50


async def test_a_process_that_the_caller_has_made_is_run_as_it_is(agent: FakeAgent, running: Execs) -> None:
    @program(agent, "given")
    async def given(process: FakeProcess) -> int:
        await process.write(b"done")
        return 0

    process = {"args": ["given"], "user": {"uid": 7, "gid": 8, "additionalGids": [9]}, "cwd": "/srv"}
    async with running.open(RECORD, "pod", ("given",), given=process) as command:
        assert await read(command) == b"done"
        assert await read(command, Stream.STDERR) == b""
        assert await command.wait() == 0
    assert given_user(process) == User("7:8", "", (9,), merge_image_groups=False)


async def test_a_command_is_sent_a_signal(agent: FakeAgent, running: Execs) -> None:
    @program(agent, "waits")
    async def waits(process: FakeProcess) -> int:
        await asyncio.Event().wait()
        return 0

    async with running.open(RECORD, "pod", ("waits",)) as command:
        await command.signal(9)
        for stream in command.outputs:
            await read(command, stream)
        assert await command.wait() == 128 + 9

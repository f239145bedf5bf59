"""Clients of a container's own streams: several at once, stalled ones, and what their leaving does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.processes import FakeProcess, cat
from tests.fakes.transport import UnixTransport
from tests.guest.client import runtime_spec
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition
from vmsandbox.fairness import TimeShare
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.session import Session
from vmsandbox.model import ContainerConfig, ContainerMetadata
from vmsandbox.protocol.messages import CreateContainer, Event, Stream
from vmsandbox.sandbox.streams import attach
from vmsandbox.sandbox.streams.attach import AttachedClient, AttachedClients
from vmsandbox.sandbox.streams.log_writer import LogWriter
from vmsandbox.sandbox.streams.logs import ContainerLog
from vmsandbox.sandbox.streams.output import OutputPump


async def flood(process: FakeProcess) -> int:
    for _ in range(2000):
        await process.write(b"y" * 999 + b"\n")
    return 0


class Pod:
    """A container of a fake agent, followed into a log."""

    def __init__(self, agent: FakeAgent, client: GuestClient, directory: Path, stack: AsyncExitStack) -> None:
        self.agent = agent
        self._client = client
        self._directory = directory
        self._stack = stack

    async def run(self, script: str = "cat", *, tty: bool = False, stdin: bool = True, once: bool = False) -> None:
        config = ContainerConfig(ContainerMetadata("c"), "image", stdin=stdin, stdin_once=once, tty=tty)
        await self._client.create_container(CreateContainer("c", "image", runtime_spec(script), stdin=stdin, tty=tty))
        streams = [Stream.STDOUT] if tty else [Stream.STDOUT, Stream.STDERR]
        log = LogWriter(ContainerLog(self._directory / "log", self._directory / "position"), TimeShare())
        pump = OutputPump(log, streams, lambda stream, offset: self._client.output("c", stream, offset=offset))
        self.pumping = asyncio.create_task(pump.run())
        self.pump = pump
        self.attachments = AttachedClients(
            self._client, "c", config, pump.readers, lambda: asyncio.wait([self.pumping])
        )
        self._stack.push_async_callback(self._close)
        await self._client.start_container("c")

    async def attach(self, *, stdin: bool = True) -> AttachedClient:
        return await self._stack.enter_async_context(self.attachments.attach(stdin=stdin))

    @property
    def process(self) -> FakeProcess:
        return self.agent.processes["c", ""]

    async def _close(self) -> None:
        self.pumping.cancel()
        await asyncio.gather(self.pumping, return_exceptions=True)
        await self.attachments.close()


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    async def handle(_: Event) -> None:
        pass

    async with FakeAgent(tmp_path) as agent, Session(UnixTransport(tmp_path), "pod", handle) as session:
        agent.programs[("/bin/sh", "-c", "cat")] = cat
        agent.programs[("/bin/sh", "-c", "flood")] = flood
        await session.connect(10)
        async with AsyncExitStack() as stack:
            yield Pod(agent, GuestClient(session), tmp_path, stack)


async def until_got(pieces: AsyncIterator[bytes], expected: bytes) -> None:
    got = b""
    async with asyncio.timeout(10):
        while expected not in got:
            got += await anext(pieces)


async def test_every_client_gets_what_the_container_prints_and_so_does_the_log(pod: Pod, tmp_path: Path) -> None:
    await pod.run()
    first, second = await pod.attach(), await pod.attach()
    outputs = [client.output(Stream.STDOUT) for client in (first, second)]
    await first.write(b"from the first\n")
    for output in outputs:
        await until_got(output, b"from the first\n")
    await second.write(b"from the second\n")
    for output in outputs:
        await until_got(output, b"from the second\n")
    assert b"from the second" in (tmp_path / "log").read_bytes()


async def test_detaching_ends_nothing(pod: Pod) -> None:
    await pod.run()
    async with pod.attachments.attach(stdin=True) as client:
        await client.write(b"one\n")
        await until_got(client.output(Stream.STDOUT), b"one\n")
    async with pod.attachments.attach(stdin=True) as client:
        await client.write(b"two\n")
        await until_got(client.output(Stream.STDOUT), b"two\n")
    assert pod.process.exit_code is None


async def test_the_end_of_a_clients_input_detaches_it_alone(pod: Pod) -> None:
    await pod.run()
    leaving, staying = await pod.attach(), await pod.attach()
    await leaving.close_stdin()
    assert [piece async for piece in leaving.output(Stream.STDOUT)] == []
    assert await leaving.wait() == 0
    await staying.write(b"still\n")
    await until_got(staying.output(Stream.STDOUT), b"still\n")


async def test_with_stdin_once_the_first_clients_end_is_the_inputs(pod: Pod) -> None:
    await pod.run(once=True)
    client = await pod.attach()
    await client.write(b"all\n")
    await client.close_stdin()
    assert b"".join([piece async for piece in client.output(Stream.STDOUT)]) == b"all\n"
    assert await client.wait() == 0
    assert pod.process.exit_code == 0


async def test_with_stdin_once_a_client_that_vanishes_ends_the_input_too(pod: Pod) -> None:
    await pod.run(once=True)
    async with pod.attachments.attach(stdin=False):
        pass
    assert pod.process.exit_code is None, "it was none that types"
    async with pod.attachments.attach(stdin=True):
        pass
    async with asyncio.timeout(10):
        await asyncio.wait([pod.pumping])
    assert pod.process.exit_code == 0


async def test_a_terminal_has_one_stream_a_window_and_an_input_that_does_not_end(pod: Pod) -> None:
    await pod.run(tty=True, once=True)
    client = await pod.attach()
    assert client.outputs == (Stream.STDOUT,)
    await client.resize(100, 30)
    assert pod.process.size == (100, 30)
    await client.close_stdin()
    assert await client.wait() == 0
    assert pod.process.exit_code is None


async def test_a_container_without_input_takes_none_and_its_clients_stay(pod: Pod) -> None:
    await pod.run(stdin=False)
    client = await pod.attach()
    with pytest.raises(FailedPrecondition):
        await client.write(b"x")
    await client.close_stdin()
    waiting = asyncio.create_task(client.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_a_client_that_stalls_is_detached_and_the_container_goes_on(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(attach, "PATIENCE", 0.2)
    await pod.run("flood", stdin=False)
    stalled, reading = await pod.attach(), await pod.attach()
    async with asyncio.timeout(20):
        total = sum([len(piece) async for piece in reading.output(Stream.STDOUT)])
    assert total == 2_000_000, "one who reads loses nothing"
    assert (tmp_path / "log").read_bytes().count(b" stdout F ") == 2000
    got = 0
    with pytest.raises(DeadlineExceeded, match="detached"):
        async for piece in stalled.output(Stream.STDOUT):
            got += len(piece)
    assert 0 < got < 2_000_000


async def test_a_client_that_is_slow_but_reads_loses_nothing(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach, "PATIENCE", 5)
    await pod.run("flood", stdin=False)
    client = await pod.attach()
    total = 0
    async for piece in client.output(Stream.STDOUT):
        total += len(piece)
        await asyncio.sleep(0.001)
    assert total == 2_000_000


async def test_a_client_that_only_types_does_not_hold_the_container_back(pod: Pod) -> None:
    await pod.run()
    reader = (await pod.attach()).output(Stream.STDOUT)
    async with pod.attachments.attach(stdin=True, output=False) as client:
        assert client.outputs == ()
        for number in range(40):  # more than wait for a reader
            await client.write(b"%d\n" % number)
            await until_got(reader, b"%d\n" % number)

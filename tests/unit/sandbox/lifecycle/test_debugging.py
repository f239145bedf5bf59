"""Commands in the guest of a sandbox itself: when they are allowed, and their lines in the journal."""

import contextlib
from dataclasses import replace

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.host import FakeWorld, pod
from tests.fakes.processes import FakeProcess
from tests.unit.sandbox.lifecycle.test_journal import Written, written
from vmsandbox.errors import FailedPrecondition, NotFound, Unimplemented
from vmsandbox.model import DebugRequest
from vmsandbox.protocol.features import GUEST_COMMANDS
from vmsandbox.protocol.messages import Stream
from vmsandbox.service import RuntimeService

COMMAND = ("dmesg", "-T")


async def says_hello(process: FakeProcess) -> int:
    await process.write(b"hello\n")
    return 3


def prepare(world: FakeWorld, **reply: object) -> None:
    def script(agent: FakeAgent) -> None:
        agent.programs[COMMAND] = agent.programs[()] = says_hello
        agent.reply = replace(agent.reply, **reply)

    world.transports.prepare = script


async def run(service: RuntimeService, sandbox: str, *command: str) -> tuple[bytes, int]:
    """Return the output of a command, and its exit code."""
    async with service.debug(DebugRequest(sandbox, command, tty=True, stdin=True)) as process:
        printed = b""
        async with contextlib.aclosing(process.output(Stream.STDOUT)) as pieces:
            async for piece in pieces:
                printed += piece
        return printed, await process.wait()


async def test_a_command_runs_where_it_is_allowed_and_is_in_the_journal(world: FakeWorld) -> None:
    world.debug = True
    prepare(world)
    journal = next(lines := written("text"))
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        service.check_debug(DebugRequest(sandbox))
        assert await run(service, sandbox, *COMMAND) == (b"hello\n", 3)
        assert await run(service, sandbox) == (b"hello\n", 3)
        await service.stop_pod_sandbox(sandbox)
        with pytest.raises(FailedPrecondition, match="cannot run a command in the guest of"):
            service.check_debug(DebugRequest(sandbox))
    lines.close()
    told = journal_of(journal, sandbox)
    assert told[0] == "<4>pods: pod default/web (POD) is debugged: dmesg -T runs in its guest"
    assert told[1].startswith("<6>pods: pod default/web (POD) is not debugged any more: dmesg -T, ")
    assert told[2] == "<4>pods: pod default/web (POD) is debugged: a shell runs in its guest"


def journal_of(journal: Written, sandbox: str) -> list[str]:
    return [line for line in journal.without_ids(sandbox) if "debugged" in line]


async def test_where_it_is_off_the_error_names_the_setting(world: FakeWorld) -> None:
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        for request in (service.check_debug, lambda _: run(service, sandbox)):
            with pytest.raises(FailedPrecondition, match="debugging is off") as refused:
                if (running := request(DebugRequest(sandbox))) is not None:
                    await running
            assert "set machine.debug to true in config.yaml, reload the daemon, and make the pod again" in (
                refused.value.hint
            )
        large = await service.run_pod_sandbox(pod("other", runtime_handler="large"))
        with pytest.raises(FailedPrecondition) as refused:
            service.check_debug(DebugRequest(large))
        assert "machine.debug or handlers.large.debug" in refused.value.hint
        with pytest.raises(NotFound):
            service.check_debug(DebugRequest("nobody"))


async def test_a_pod_that_was_made_before_it_was_allowed_refuses_by_itself(world: FakeWorld) -> None:
    prepare(world)
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
    world.debug = True
    async with world.daemon() as service:
        with pytest.raises(FailedPrecondition, match="without commands in itself") as refused:
            await run(service, sandbox)
        assert "make the pod again" in refused.value.hint


async def test_it_is_off_at_once_where_it_was_switched_off(world: FakeWorld) -> None:
    world.debug = True
    prepare(world)
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
    world.debug = False
    async with world.daemon() as service:
        with pytest.raises(FailedPrecondition, match="debugging is off"):
            await run(service, sandbox)


async def test_an_agent_of_an_earlier_version_is_not_told_and_not_asked(world: FakeWorld) -> None:
    world.debug = True
    features = tuple(each for each in FakeAgent(world.directory).reply.features if each != GUEST_COMMANDS)
    prepare(world, features=features)
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        assert world.transports.agents[sandbox].debug is False
        with pytest.raises(Unimplemented, match="an earlier version has started the machine"):
            service.check_debug(DebugRequest(sandbox))

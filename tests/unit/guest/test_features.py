"""A host and an agent of different versions: what the agent can do goes on, and what it cannot is an error."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent, Refusal
from tests.fakes.transport import UnixTransport
from vmsandbox.errors import DeadlineExceeded, Unimplemented
from vmsandbox.guest import GuestClient
from vmsandbox.guest.session import RunState, Session, features
from vmsandbox.protocol.features import BLOCK_DEVICES, FEATURES, SOURCES_BY_DESCRIPTOR
from vmsandbox.protocol.messages import (
    CreateContainer,
    Event,
    GuestDevice,
    HelloReply,
    ListContainers,
    MeasureContainers,
    ReadClock,
    UpdateResources,
)

WITH_DISK = CreateContainer("c1", "image", {"process": {"args": ["true"]}}, devices=(GuestDevice("/dev/x", disk="d1"),))


async def ignore(_: Event) -> None:
    pass


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(UnixTransport(tmp_path), "pod", ignore, build="test-build")


async def unimplemented(request: object) -> None:
    raise Refusal("unimplemented", "the agent has no such method")


def older(agent: FakeAgent, version: int) -> None:
    agent.reply = HelloReply(version, "old-build", "boot", "6.12.0", 4.0, 3.5)


@pytest.mark.parametrize("version", [1, 2])
async def test_an_older_agent_is_asked_and_what_it_does_not_have_is_an_error_that_says_so(
    agent: FakeAgent, session: Session, version: int, caplog: pytest.LogCaptureFixture
) -> None:
    older(agent, version)
    agent.before["measure_containers"] = unimplemented
    caplog.set_level("INFO")
    async with session:
        assert (await session.connect(10)).version == version
        assert await session.request(ListContainers(), 10)
        with pytest.raises(Unimplemented, match=r"have measure_containers \(build old-build, protocol") as caught:
            await session.request(MeasureContainers(), 10)
        assert "make the pod again" in caught.value.hint
        assert session.state is RunState.CONNECTED
    assert "another version of vmsandbox (build old-build" in caplog.text


async def test_a_field_that_an_older_agent_would_refuse_is_not_sent(agent: FakeAgent, session: Session) -> None:
    older(agent, 1)
    async with session:
        await session.connect(10)
        with pytest.raises(Unimplemented, match="block_devices of create_container"):
            await session.request(WITH_DISK, 10)
        await session.request(replace(WITH_DISK, devices=(GuestDevice("/dev/fuse", "/dev/fuse"),)), 10)
        assert len(agent.requests) == 1


async def test_an_older_agent_is_not_told_of_cpus_and_not_asked_for_averages(
    agent: FakeAgent, session: Session
) -> None:
    older(agent, 2)
    async with session:
        await session.connect(10)
        client = GuestClient(session)
        await client.create_container(replace(WITH_DISK, cpus="2-3"))
        await client.update_resources("c1", {}, cpus="2-3")
        await client.measure_containers()
    assert agent.requests == [WITH_DISK, UpdateResources("c1", {}), MeasureContainers()]


async def test_an_agent_of_now_is_told_of_cpus_and_asked_for_averages(agent: FakeAgent, session: Session) -> None:
    async with session:
        await session.connect(10)
        client = GuestClient(session)
        await client.create_container(replace(WITH_DISK, cpus="2-3"))
        await client.update_resources("c1", {}, cpus="")
        await client.measure_containers()
    assert agent.requests == [replace(WITH_DISK, cpus="2-3"), UpdateResources("c1", {}), MeasureContainers(True)]


async def test_a_method_that_an_agent_does_not_name_is_not_asked_of_it(agent: FakeAgent, session: Session) -> None:
    agent.reply = replace(agent.reply, features=tuple(each for each in agent.reply.features if each != "read_clock"))
    async with session:
        await session.connect(10)
        with pytest.raises(Unimplemented, match="read_clock"):
            await session.request(ReadClock(), 10)
        await session.request(WITH_DISK, 10)
        assert [type(each) for each in agent.requests] == [CreateContainer]


async def test_what_a_newer_agent_can_do_beyond_what_is_known_does_no_harm(agent: FakeAgent, session: Session) -> None:
    agent.reply = replace(agent.reply, build="newer", features=(*agent.reply.features, "dance", "sing"))
    async with session:
        await session.connect(10)
        assert await session.request(ListContainers(), 10)


HOSTILE = {
    "too many": tuple(f"f{number}" for number in range(257)),
    "too long": ("f" * 129,),
    "not printable": ("\x1b[2J",),
    "not texts": (1,),
    "not a list": 5,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_features_beyond_their_bounds_are_not_a_hello(agent: FakeAgent, session: Session, name: str) -> None:
    agent.reply = replace(agent.reply, features=HOSTILE[name])
    async with session:
        with pytest.raises(DeadlineExceeded, match=r"the hello failed: HelloReply\.features"):
            await session.connect(0.3)


def test_an_agent_has_what_it_names_or_what_its_version_had() -> None:
    reply = HelloReply(3, "build", "boot", "6.12.0", 4.0, 3.5, features=(BLOCK_DEVICES,))
    assert (features.has(reply, BLOCK_DEVICES), features.has(reply, SOURCES_BY_DESCRIPTOR)) == (True, False)
    older = [{each for each in FEATURES if features.has(replace(reply, version=version), each)} for version in (1, 2)]
    assert older == [set(), {BLOCK_DEVICES, SOURCES_BY_DESCRIPTOR}]
    assert not features.has(replace(reply, version=1), BLOCK_DEVICES), "a name counts only where names were agreed on"

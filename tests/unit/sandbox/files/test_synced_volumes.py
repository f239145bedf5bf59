"""Volumes of the kubelet's atomic writer, kept in a guest as they are on the host."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent, Refusal
from tests.fakes.host import FakeWorld, app, pod
from tests.fakes.transport import UnixTransport
from tests.support.atomic_writer import make_volume, write
from tests.support.waiting import until
from vmsandbox.fs.foreign import ForeignPaths
from vmsandbox.fs.watching import Watcher
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.session import Session
from vmsandbox.model import Mount
from vmsandbox.protocol.messages import CreateContainer, Event, WriteVolume
from vmsandbox.sandbox.files import synced_volumes
from vmsandbox.sandbox.files.synced_volumes import SyncedVolumes
from vmsandbox.service import RuntimeService
from vmsandbox.state import State


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[FakeAgent]:
    async with FakeAgent(tmp_path) as agent:
        yield agent


@pytest.fixture
async def client(agent: FakeAgent, tmp_path: Path) -> AsyncIterator[GuestClient]:
    async with Session(UnixTransport(tmp_path), "pod", _ignore) as session:
        await session.connect(10)
        yield GuestClient(session)


@pytest.fixture
async def watcher() -> AsyncIterator[Watcher]:
    watcher = Watcher()
    yield watcher
    assert watcher._fd is None, "a watch was left"


@contextlib.asynccontextmanager
async def daemon(client: GuestClient, watcher: Watcher) -> AsyncIterator[SyncedVolumes]:
    synced = SyncedVolumes("web", client, ForeignPaths(), watcher)
    try:
        yield synced
    finally:
        await synced.close()
        await synced.close()


@pytest.fixture
async def synced(client: GuestClient, watcher: Watcher) -> AsyncIterator[SyncedVolumes]:
    async with daemon(client, watcher) as synced:
        yield synced


async def _ignore(_: Event) -> None:
    return


def mount(volume: Path, at: str = "/etc/config") -> Mount:
    return Mount(at, str(volume), readonly=True)


def contents(version: WriteVolume) -> dict[str, str]:
    files = ((each.path, each.content) for each in version.entries)
    return {path: base64.b64decode(content).decode() for path, content in files if content is not None}


async def test_a_volume_is_kept_in_the_guest_and_a_change_is_there_within_a_second(
    synced: SyncedVolumes, agent: FakeAgent, tmp_path: Path
) -> None:
    volume = make_volume(tmp_path, {"key": "one"})
    place = await synced.offer(mount(volume))
    assert await synced.offer(mount(volume, "/elsewhere")) == place
    (name,) = agent.volumes
    assert place == f"/run/vmsandbox/tmpfs/{name}"
    assert contents(agent.volumes[name][-1]) == {"key": "one"}
    write(volume, {"key": "two", "new": "x"})
    await until(lambda: contents(agent.volumes[name][-1]) == {"key": "two", "new": "x"}, 1)


async def test_changes_that_come_while_one_is_sent_are_one(
    synced: SyncedVolumes, agent: FakeAgent, tmp_path: Path
) -> None:
    volume = make_volume(tmp_path, {"key": "0"})
    await synced.offer(mount(volume))
    (versions,) = agent.volumes.values()
    released = asyncio.Event()

    async def wait(_: WriteVolume) -> None:
        await released.wait()

    agent.before["write_volume"] = wait
    sent = len(agent.requests)
    for number in range(1, 30):
        write(volume, {"key": str(number)})
        await asyncio.sleep(0.005)
    released.set()
    await until(lambda: contents(versions[-1]) == {"key": "29"})
    assert len(agent.requests) - sent <= 2


async def test_what_is_not_the_atomic_writer_s_is_shared(
    synced: SyncedVolumes, agent: FakeAgent, tmp_path: Path
) -> None:
    volume = make_volume(tmp_path, {"key": "one"})
    assert await synced.offer(Mount("/c", str(volume))) == ""
    assert await synced.offer(mount(tmp_path)) == ""
    (volume / "..data").unlink()
    assert await synced.offer(mount(volume)) == ""
    assert await synced.offer(mount(volume.with_name("missing"))) == ""
    assert agent.requests == []


async def test_a_large_volume_is_shared_and_that_is_logged(
    synced: SyncedVolumes, agent: FakeAgent, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    half = bytes(synced_volumes.LARGEST // 2)
    assert await synced.offer(mount(make_volume(tmp_path, {"key": half}))) == ""
    assert await synced.offer(mount(make_volume(tmp_path, {"key": half * 2}, "huge"))) == ""
    assert agent.requests == []
    assert len([each for each in caplog.records if "are not told of changes" in each.message]) == 2


async def test_no_more_volumes_are_kept_than_the_guest_has_room_for(
    synced: SyncedVolumes, agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synced_volumes, "ALL", 100_000)
    volumes = [make_volume(tmp_path, {"key": bytes(20_000)}, f"v{number}") for number in range(4)]
    kept = [await synced.offer(mount(volume)) for volume in volumes]
    assert [bool(place) for place in kept] == [True, True, False, False]


async def test_no_more_volumes_are_watched_than_a_sandbox_may_have(
    synced: SyncedVolumes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synced_volumes, "MOST", 2)
    kept = [await synced.offer(mount(make_volume(tmp_path, {"key": "x"}, f"v{number}"))) for number in range(3)]
    assert [bool(place) for place in kept] == [True, True, False]


async def test_a_version_that_does_not_fit_any_more_leaves_the_old_one_and_is_logged(
    synced: SyncedVolumes, agent: FakeAgent, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    volume = make_volume(tmp_path, {"key": "one"})
    await synced.offer(mount(volume))
    write(volume, {"key": bytes(synced_volumes.LARGEST + 1)})
    await until(lambda: "keeps an old version" in caplog.text)
    (versions,) = agent.volumes.values()
    assert [contents(each) for each in versions] == [{"key": "one"}]
    write(volume, {"key": bytes(synced_volumes.LARGEST // 2)})
    await until(lambda: len(versions) == 2)


async def test_a_version_that_the_guest_did_not_take_is_sent_again(
    synced: SyncedVolumes, agent: FakeAgent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synced_volumes, "_AGAIN", 0.05)
    volume = make_volume(tmp_path, {"key": "one"})
    await synced.offer(mount(volume))
    (versions,) = agent.volumes.values()
    refusals = [Refusal("internal", "not now")] * 2

    async def refuse(_: WriteVolume) -> None:
        if refusals:
            raise refusals.pop()

    agent.before["write_volume"] = refuse
    write(volume, {"key": "two"})
    await until(lambda: contents(versions[-1]) == {"key": "two"})


async def test_an_agent_that_does_not_know_how_gets_a_shared_volume(
    synced: SyncedVolumes, agent: FakeAgent, tmp_path: Path
) -> None:
    async def refuse(_: WriteVolume) -> None:
        raise Refusal("unimplemented", "the agent has no method 'write_volume'")

    agent.before["write_volume"] = refuse
    assert await synced.offer(mount(make_volume(tmp_path, {"key": "one"}))) == ""


async def test_a_volume_that_goes_with_its_pod_disturbs_nobody(
    synced: SyncedVolumes, agent: FakeAgent, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = make_volume(tmp_path, {"key": "one"}), make_volume(tmp_path, {"key": "one"}, "two")
    for volume in (one, two):
        await synced.offer(mount(volume))
    one.rename(tmp_path / "gone")
    write(tmp_path / "gone", {"key": "two"})
    write(two, {"key": "two"})
    await until(lambda: any(contents(versions[-1]) == {"key": "two"} for versions in agent.volumes.values()))
    assert caplog.records == []


async def test_what_has_changed_while_no_daemon_was_there_is_sent_by_the_next(
    client: GuestClient, watcher: Watcher, agent: FakeAgent, tmp_path: Path
) -> None:
    volume, shared = make_volume(tmp_path, {"key": "one"}), make_volume(tmp_path, {"key": "one"}, "shared")
    async with daemon(client, watcher) as synced:
        await synced.offer(mount(volume))
    write(volume, {"key": "two"})
    async with daemon(client, watcher) as synced:
        await synced.take_back([mount(volume), mount(shared), mount(volume, "/b"), mount(tmp_path)])
        (versions,) = agent.volumes.values()
        assert contents(versions[-1]) == {"key": "two"}
        write(volume, {"key": "three"})
        await until(lambda: contents(versions[-1]) == {"key": "three"}, 1)


async def test_a_container_mounts_what_the_guest_keeps_through_a_restart_of_the_daemon(tmp_path: Path) -> None:
    world = FakeWorld(tmp_path)
    volume = make_volume(tmp_path, {"key": "one"})
    with State(tmp_path / "state.db") as state:
        async with RuntimeService(world.host(state)).running() as service:
            sandbox = await service.run_pod_sandbox(pod())
            container = await service.create_container(sandbox, app(mounts=(mount(volume),)))
            await service.start_container(container)
            agent = world.transports.agents[sandbox]
            (made,) = (each for each in agent.requests if isinstance(each, CreateContainer))
            ((name, versions),) = agent.volumes.items()
            (bound,) = (each for each in made.spec["mounts"] if each["destination"] == "/etc/config")
            assert bound["source"] == f"/run/vmsandbox/tmpfs/{name}" and "ro" in bound["options"]
        write(volume, {"key": "two"})
        service = RuntimeService(world.host(state))
        service.recover()
        async with service.running():
            await service.recovered()
            assert contents(versions[-1]) == {"key": "two"}
            write(volume, {"key": "three"})
            await until(lambda: contents(versions[-1]) == {"key": "three"}, 1)
            await service.remove_pod_sandbox(sandbox)
    await world.transports.aclose()

"""Giving back what a sandbox has acquired, whatever fails and whatever a guest has left."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import libvirt
import pytest

from tests.fakes.host import FakeWorld
from vmsandbox.errors import Unavailable, VmsandboxError
from vmsandbox.sandbox.machines import teardown
from vmsandbox.sandbox.machines.host import Host
from vmsandbox.sandbox.machines.teardown import give_back
from vmsandbox.state import State

ID = "5" * 32
DEPTH = 2500


@pytest.fixture
def world(tmp_path: Path) -> FakeWorld:
    return FakeWorld(tmp_path)


@pytest.fixture
def host(world: FakeWorld) -> Host:
    with State(world.directory / "state.db") as state:
        yield world.host(state)


def nest(directory: Path) -> None:
    """Directories in one another, deeper than Python's stack and the kernel's longest path."""
    at = os.open(directory, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


def replace_by_fifo(container: Path) -> None:
    container.rename(container.with_name("b"))
    os.mkfifo(container)


def replace_by_link(container: Path) -> None:
    container.rename(container.with_name("b"))
    container.symlink_to(container.parents[3] / "outside")


HOSTILE: dict[str, Callable[[Path], object]] = {
    "nested directories": nest,
    "a FIFO in place of a directory": replace_by_fifo,
    "a link in place of a directory": replace_by_link,
    "a FIFO in a directory": lambda container: os.mkfifo(container / "0"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("attack", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_tree_that_a_guest_has_made_is_removed(host: Host, world: FakeWorld, attack) -> None:
    (world.directory / "outside").mkdir()
    (world.directory / "outside/file").touch()
    layout = host.layout(ID)
    layout.make()
    (layout.share / "c").mkdir()
    attack(layout.share / "c")
    await layout.remove_volumes("c")
    assert not os.path.lexists(layout.share / "c")
    await give_back(host, ID)
    assert not layout.runtime.exists()
    assert (world.directory / "outside/file").exists()


@pytest.mark.parametrize(
    "error", [OSError(5, "broken"), RecursionError(), libvirt.libvirtError("lost"), TimeoutError(), Unavailable("gone")]
)
@pytest.mark.parametrize("step", ["hypervisor", "transports", "network"])
async def test_what_one_step_raises_keeps_no_other_from_being_taken(
    host: Host, world: FakeWorld, monkeypatch: pytest.MonkeyPatch, error: Exception, step: str
) -> None:
    layout = host.layout(ID)
    layout.make()
    taken = []

    def note(name: str, *, waits: bool) -> Callable[..., object]:
        async def later(*_: object) -> None:
            at_once()

        def at_once(*_: object) -> None:
            taken.append(name)
            if name == step:
                raise error

        return later if waits else at_once

    with monkeypatch.context() as patched:
        patched.setattr(world.hypervisor, "destroy", note("hypervisor", waits=True))
        patched.setattr(world.transports, "stop", note("transports", waits=False))
        patched.setattr(world.network, "tear_down", note("network", waits=True))
        with pytest.raises(VmsandboxError, match=f"giving back the resources of sandbox {ID}"):
            await give_back(host, ID)
    assert taken == ["hypervisor", "transports", "network"]
    assert not layout.runtime.exists()
    await give_back(host, ID)


async def test_a_step_that_does_not_end_is_given_up(
    host: Host, world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teardown, "_STEP_DEADLINE", 0.05)
    layout = host.layout(ID)
    layout.make()

    async def hang(_: str) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(world.hypervisor, "destroy", hang)
        with pytest.raises(VmsandboxError, match="ending its machine: it did not end within") as caught:
            await give_back(host, ID)
    assert caught.value.code == "deadline_exceeded"
    monkeypatch.undo()
    await give_back(host, ID)
    assert not layout.runtime.exists()

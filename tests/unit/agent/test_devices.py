"""The devices that a container gets in the guest: nodes that are there, and disks that the host plugs in."""

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from vmsandbox.protocol.messages import CreateContainer, GuestDevice, ProcessUser
from vmsandbox_agent.containers import devices
from vmsandbox_agent.containers.container import completion
from vmsandbox_agent.errors import AgentError
from vmsandbox_agent.setup import disks

DEV = Path("/dev")
DISK = GuestDevice("/dev/xvda", permissions="mr", disk="0123", mode=0o640, uid=1001, gid=6)


async def test_a_disk_is_waited_for_and_has_the_mode_and_owner_that_the_host_says(monkeypatch) -> None:
    async def wait_for_disk(serial: str) -> Path:
        assert serial == "0123"
        return Path("/dev/full")

    monkeypatch.setattr(devices, "wait_for_disk", wait_for_disk)
    located = await devices.locate((DISK, GuestDevice("/dev/mine", "/dev/null")))
    nodes, rules = devices.find(located, DEV)
    numbers = {"type": "c", "major": 1, "minor": 7}
    assert nodes[0] == {**numbers, "path": "/dev/xvda", "fileMode": 0o640, "uid": 1001, "gid": 6}
    assert rules[0] == {**numbers, "allow": True, "access": "mr"}
    assert (nodes[1]["path"], nodes[1]["minor"], nodes[1]["fileMode"]) == ("/dev/mine", 3, 0o666)


def test_a_device_that_is_asked_for_takes_the_place_of_the_guests_own() -> None:
    context = SimpleNamespace(
        settings=SimpleNamespace(devices=DEV), pod=SimpleNamespace(pid=lambda: None, user=lambda: None)
    )
    taken = devices.everything(DEV)[0].path
    wanted = (GuestDevice(taken, "/dev/full", "r"),)
    request = CreateContainer("c", "image", {}, devices=wanted, all_devices=True)
    known = completion(
        context, request, root=DEV, user=ProcessUser(0, 0), cgroup="/c", joined=None  # type: ignore[arg-type]
    )  # fmt: skip
    assert [(node["major"], node["minor"]) for node in known.devices if node["path"] == taken] == [(1, 7)]


async def test_a_disk_is_let_go_when_it_is_not_mounted_any_more(monkeypatch) -> None:
    steps: list[str] = []

    def write_back(serial: str) -> None:
        steps.append(f"write back {serial}")
        if len(steps) < 3:
            raise OSError(errno.EBUSY, "busy")

    monkeypatch.setattr(disks, "_PAUSE", 0)
    monkeypatch.setattr(disks, "write_back", write_back)
    monkeypatch.setattr(disks, "release_disk", lambda serial: steps.append(f"release {serial}"))
    await disks.release("0123")
    assert steps == ["write back 0123"] * 3 + ["release 0123"]


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EBUSY, AgentError), (errno.EIO, OSError)], ids=["mounted", "does not write"]
)
async def test_a_disk_that_holds_what_is_not_written_is_not_let_go(monkeypatch, number, kind) -> None:
    def write_back(serial: str) -> None:
        raise OSError(number, "no")

    def release_disk(serial: str) -> None:
        raise AssertionError("it is let go")

    monkeypatch.setattr(disks, "_PAUSE", 0)
    monkeypatch.setattr(disks, "write_back", write_back)
    monkeypatch.setattr(disks, "release_disk", release_disk)
    with pytest.raises(kind):
        await disks.release("0123")


def test_a_disk_that_is_not_there_has_nothing_to_be_written() -> None:
    disks.write_back("no disk has this serial")

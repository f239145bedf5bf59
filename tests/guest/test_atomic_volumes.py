"""Versions of the kubelet's volumes that the agent puts in place, and what a container that watches sees of it."""

import base64
import ctypes
import os
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.guest.client import AgentRefused, Client, runtime_spec
from tests.guest.conftest import running_agent
from tests.support import atomic_writer
from vmsandbox.protocol.messages import DeleteContainer, StartContainer, Stream, VolumeEntry, WriteVolume
from vmsandbox_agent.settings import Settings
from vmsandbox_agent.setup import atomic_volumes
from vmsandbox_agent.setup.atomic_volumes import AtomicVolumes
from vmsandbox_agent.setup.namespaces import PodNamespaces

NAME = "synced.1"


def version(number: int, files: Mapping[str, str], **more: object) -> WriteVolume:
    """A version with these files, and the directories that they need."""
    parents = {path.rpartition("/")[0] for path in files} - {""}
    entries = [VolumeEntry("", 0o755), *(VolumeEntry(path, 0o750) for path in sorted(parents))]
    entries += [
        VolumeEntry(path, 0o640, 7, 8, 1_600_000_000 * 10**9, base64.b64encode(content.encode()).decode())
        for path, content in files.items()
    ]
    return WriteVolume(NAME, f"..2026_01_01_00_00_00.{number}", tuple(entries), size=1 << 20, mode=0o777, **more)  # type: ignore[arg-type]


async def read(client: Client, script: str, container: str = "reader") -> str:
    """Return the output of a container that has the volume at /volume."""
    spec = runtime_spec(script)
    source = f"{client.directory}/state/tmpfs/{NAME}"
    spec["mounts"].append({"destination": "/volume", "source": source, "type": "bind", "options": ["rbind", "ro"]})
    await client.create("", container, spec=spec)
    stdout = await client.stream(Stream.STDOUT, container)
    stderr = await client.stream(Stream.STDERR, container)
    await client.call(StartContainer(container))
    printed = await stdout.read_all()
    assert await stderr.read_all() == b""
    await client.exit()
    await client.call(DeleteContainer(container))
    return printed.decode()


async def test_a_version_is_as_in_the_kubelet(client: Client) -> None:
    await client.call(version(1, {"key": "value", "certs/tls.crt": "cert"}, make=True))
    printed = await read(
        client,
        "cd /volume; cat key certs/tls.crt; echo; readlink key; readlink ..data; stat -c '%n %a %u:%g %Y' ..data/key; "
        "stat -c '%n %F %a' . ..data/ ..data/certs; touch new 2>/dev/null || echo ro",
    )
    assert printed.splitlines() == [
        "valuecert",
        "..data/key",
        "..2026_01_01_00_00_00.1",
        "..data/key 640 7:8 1600000000",
        ". directory 777",
        "..data/ directory 755",
        "..data/certs directory 750",
        "ro",
    ]


async def test_the_next_version_replaces_all_of_the_one_before(client: Client) -> None:
    for number, files in ((1, {"key": "one", "old": "x"}), (2, {"key": "two", "new": "y"}), (2, {}), (3, {"a/b": "z"})):
        await client.call(version(number, files, make=True))
        if number < 3:
            continue
        assert (await read(client, "cd /volume; find . | sort; cat a/b")).split() == [
            ".", "./..2026_01_01_00_00_00.3", "./..2026_01_01_00_00_00.3/a", "./..2026_01_01_00_00_00.3/a/b",
            "./..data", "./a", "z",
        ]  # fmt: skip


async def test_a_volume_that_is_not_there_is_made_only_where_that_is_asked(client: Client) -> None:
    with pytest.raises(AgentRefused, match="there is no volume") as caught:
        await client.call(version(1, {"key": "value"}))
    assert caught.value.code == "not_found"
    await client.call(version(1, {"key": "value"}, make=True))
    await client.call(version(2, {"key": "next"}))
    assert await read(client, "cat /volume/key") == "next"


async def test_a_version_without_room_leaves_the_one_before(client: Client) -> None:
    await client.call(version(1, {"key": "one"}, make=True))
    with pytest.raises(AgentRefused, match="No space left"):
        await client.call(version(2, {"key": "two", "large": "x" * (1 << 20)}))
    assert (await read(client, "cd /volume; cat key; ls -A")).split() == [
        "one..2026_01_01_00_00_00.1", "..data", "key",
    ]  # fmt: skip
    await client.call(version(3, {"key": "three"}))
    assert await read(client, "cat /volume/key") == "three"


@pytest.mark.parametrize("path", ["../escape", "a/../../b", "/etc/x", "a//b", "./a", "a/.", "..", "a\0b"])
async def test_a_path_that_is_not_one_is_refused(client: Client, path: str) -> None:
    with pytest.raises(AgentRefused, match="not a path"):
        await client.call(
            WriteVolume(NAME, "..1", (VolumeEntry("", 0o755), VolumeEntry(path, 0o644, content="")), True)
        )


async def test_content_that_is_not_base64_is_refused(client: Client) -> None:
    with pytest.raises(AgentRefused, match="base64"):
        await client.call(
            WriteVolume(NAME, "..1", (VolumeEntry("", 0o755), VolumeEntry("a", 0o644, content="?")), True)
        )


@pytest.fixture
def agent_with_users(rootfs: Path) -> Iterator[Path]:
    with running_agent(rootfs, "100000") as directory:
        yield directory


@pytest.fixture
async def client_with_users(agent_with_users: Path) -> AsyncIterator[Client]:
    client = await Client.connect(agent_with_users)
    yield client
    await client.close()


async def test_in_a_user_namespace_the_owners_are_the_pod_s(client_with_users: Client) -> None:
    await client_with_users.call(version(1, {"key": "value"}, make=True))
    assert await read(client_with_users, "stat -c %u:%g /volume /volume/..data/key") == "0:0\n7:8\n"


_LIBC = ctypes.CDLL(None, use_errno=True)
_INTERESTING = 0xFFF & ~(0x1 | 0x10 | 0x20)
"""The events of inotify(7) except IN_ACCESS, IN_CLOSE_NOWRITE and IN_OPEN."""


def watched(volume: Path, change: Callable[[], object]) -> list[str]:
    """Return the events of inotify(7) of a volume and of a file in it, while `change` is called."""
    fd = _LIBC.inotify_init1(os.O_NONBLOCK)
    places = {}
    for place in (volume, volume / "key"):
        places[_LIBC.inotify_add_watch(fd, os.fsencode(place), _INTERESTING)] = place.name
    before = os.readlink(volume / "..data")
    change()
    data, seen = os.read(fd, 65536), []
    os.close(fd)
    names = {before: "OLD", os.readlink(volume / "..data"): "NEW", volume.name: "VOLUME"}
    while data:
        number, mask, _, length = struct.unpack_from("iIII", data)
        name = data[16 : 16 + length].rstrip(b"\0").decode() or places[number]
        data = data[16 + length :]
        seen.append(f"{names.get(name, name)} {mask:x}")
    return seen


def test_who_watches_sees_what_the_kubelet_would_have_made_them_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watch a directory that stands for the guest's tmpfs."""
    monkeypatch.setattr(atomic_volumes, "make_tmpfs", lambda target, *_: target.mkdir())
    monkeypatch.setattr(os.path, "ismount", os.path.isdir)
    agent = AtomicVolumes(tmp_path, PodNamespaces(Settings(), None))  # type: ignore[arg-type]
    kubelets = atomic_writer.make_volume(tmp_path, {"key": "one", "old": "x"})
    agent.write(version(1, {"key": "one", "old": "x"}, make=True))
    after = {"key": "two", "new": "y"}
    expected = watched(kubelets, lambda: atomic_writer.write(kubelets, after))
    seen = watched(tmp_path / NAME, lambda: agent.write(version(2, after)))
    assert "..data 80" in expected and "key 400" in expected, "moved to; deleted itself"
    assert [each for each in seen if each != "NEW 40000004"] == [each for each in expected if each != "NEW 40000004"]

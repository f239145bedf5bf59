"""Volumes that an image declares: filled by the agent with what the image has in their places."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guest.client import CONTAINER, AgentRefused, Client, runtime_spec
from tests.guest.conftest import running_agent
from tests.support.rootfs import make_rootfs
from vmsandbox.protocol.messages import DeleteContainer, StartContainer, Stream


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_rootfs(tmp_path_factory.mktemp("declaring") / "rootfs")
    volume = root / "srv/volume"
    volume.mkdir()
    (volume / "file").write_text("of the image\n")
    (volume / "link").symlink_to("/etc/shadow")
    os.link(volume / "file", volume / "hard")
    os.mkfifo(volume / "fifo")
    for path in (volume, volume / "file"):
        os.chown(path, 33, 34)
    volume.chmod(0o2750)
    os.utime(volume / "file", (1_000_000_000, 1_000_000_000))
    (root / "srv/elsewhere").symlink_to("volume")
    (root / "srv/out").symlink_to("../../../../..")
    return root


@pytest.fixture(scope="module")
def declaring_agent(rootfs: Path) -> Iterator[Path]:
    with running_agent(rootfs) as directory:
        yield directory


@pytest.fixture
async def client(declaring_agent: Path) -> AsyncIterator[Client]:
    client = await Client.connect(declaring_agent)
    yield client
    await client.call(DeleteContainer(CONTAINER))
    await client.close()


def spec_of(client: Client, script: str, *volumes: str) -> dict[str, Any]:
    spec = runtime_spec(script)
    spec["root"] = {"readonly": True}
    directory = client.directory / "state/scratch" / CONTAINER / "volumes"
    spec["mounts"] += [
        {"destination": volume, "type": "bind", "source": str(directory / str(number)), "options": ["rbind", "rw"]}
        for number, volume in enumerate(volumes)
    ]
    return spec


async def printed(client: Client, script: str, *volumes: str) -> list[str]:
    await client.create("", spec=spec_of(client, f"exec 2>&1; {script}", *volumes))
    await client.call(StartContainer(CONTAINER))
    return (await (await client.stream(Stream.STDOUT)).read_all()).decode().splitlines()


async def test_a_declared_volume_has_what_the_image_has_there_and_can_be_written(client: Client) -> None:
    script = (
        "cd /srv/volume; stat -c '%n %u:%g %a %h' . file hard fifo; stat -c %Y file; readlink link; cat file; "
        "echo more >> file; cat hard; touch /srv/no"
    )
    assert await printed(client, script, "/srv/volume") == [
        ". 33:34 2750 2", "file 33:34 644 2", "hard 33:34 644 2", "fifo 0:0 644 1", "1000000000", "/etc/shadow",
        "of the image", "of the image", "more", "touch: /srv/no: Read-only file system",
    ]  # fmt: skip


async def test_a_declared_volume_is_not_part_of_the_containers_overlay(client: Client) -> None:
    script = 'awk \'$5 == "/srv/volume" || $5 == "/" {print $5, $0 ~ / - overlay /}\' /proc/self/mountinfo'
    assert await printed(client, script, "/srv/volume") == ["/ 1", "/srv/volume 0"]


async def test_a_declared_volume_that_the_image_does_not_have_is_empty_and_roots(client: Client) -> None:
    script = "stat -c '%u:%g %a' /srv/missing/deep; ls -A /srv/missing/deep"
    assert await printed(client, script, "/srv/missing/deep") == ["0:0 755"]


async def test_a_declared_volume_at_a_link_has_what_the_link_leads_to(client: Client) -> None:
    assert await printed(client, "cat /srv/elsewhere/file", "/srv/elsewhere") == ["of the image"]


async def test_no_link_leads_a_declared_volume_out_of_the_image(client: Client) -> None:
    secret = client.directory / "secret"
    secret.mkdir(exist_ok=True)
    (secret / "file").write_text("of the guest")
    name = f"/srv/out{secret}"
    assert await printed(client, f"ls -A {name}", name) == []


async def test_a_declared_volume_that_is_a_file_in_the_image_is_refused(client: Client) -> None:
    with pytest.raises(AgentRefused, match="a volume at /etc/passwd, which is not a directory"):
        await client.create("", spec=spec_of(client, "true", "/etc/passwd"))


async def test_a_declared_volume_goes_with_its_container(client: Client) -> None:
    for _ in range(2):
        script = "cat /srv/volume/new; echo new > /srv/volume/new"
        assert await printed(client, script, "/srv/volume") == [
            "cat: can't open '/srv/volume/new': No such file or directory"
        ]
        await client.call(DeleteContainer(CONTAINER))

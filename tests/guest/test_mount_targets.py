"""Where a volume appears whose place in the image is a symbolic link: asked of the agent with crun, and of runc."""

import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.guest.client import CONTAINER, AgentRefused, Client, runtime_spec
from tests.guest.conftest import running_agent
from tests.support.rootfs import make_rootfs
from vmsandbox.protocol.messages import DeleteContainer, StartContainer, Stream

LINKS = {
    "bitnami/mq/mnesia": "/var/lib/mq/mnesia",
    "var/lib/mq": "../../srv/mq",
    "out/above": "../../../../../var/above",
    "out/absolute": "/../../tmp/absolute",
    "run/current": "/var/run-of-old",
    "dev/inside": "/srv/never",
    "circle/a": "b",
    "circle/b": "a",
}


@pytest.fixture(scope="module")
def linked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with symbolic links that lead to nothing."""
    root = make_rootfs(tmp_path_factory.mktemp("linked") / "rootfs")
    for name, target in LINKS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
    (root / "srv/real").mkdir()
    (root / "run/real").symlink_to("/srv/real")
    return root


@pytest.fixture(scope="module")
def linked_agent(linked: Path) -> Iterator[Path]:
    with running_agent(linked) as directory:
        yield directory


@pytest.fixture
async def client(linked_agent: Path) -> AsyncIterator[Client]:
    client = await Client.connect(linked_agent)
    yield client
    await client.close()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = tmp_path / "volume"
    path.mkdir()
    (path / "file").write_text("of the volume\n")
    return path


def spec_of(volume: Path, destinations: Sequence[str]) -> dict[str, Any]:
    """Tells where the volume is mounted, and that its content is at the names that were asked for."""
    spec = runtime_spec(
        "awk '$5 !~ \"^/(proc|dev(/pts)?)?$\" {print $5}' /proc/self/mountinfo | sort; cat "
        + " ".join(f"{name}/file" for name in destinations)
    )
    spec["mounts"] += [
        {"destination": name, "type": "bind", "source": str(volume), "options": ["rbind", "rw"]}
        for name in destinations
    ]
    return spec


def by_runc(linked: Path, spec: dict[str, Any], where: Path) -> str | None:
    """Return the container's output under runc; None if runc does not create it."""
    root = where / "root"
    shutil.copytree(linked, root, symlinks=True)
    (where / "config.json").write_text(json.dumps({**spec, "root": {"path": str(root)}}))
    command = ["runc", "--root", where / "state", "run", "--bundle", where, f"judge-{where.name}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return done.stdout if done.returncode == 0 else None


async def by_agent(client: Client, spec: dict[str, Any]) -> str | None:
    try:
        await client.create("", spec=spec)
    except AgentRefused:
        return None
    await client.call(StartContainer(CONTAINER))
    printed = await (await client.stream(Stream.STDOUT)).read_all()
    await client.call(DeleteContainer(CONTAINER))
    return printed.decode()


@pytest.mark.parametrize(
    "destinations",
    [
        ["/bitnami/mq/mnesia"],
        ["/bitnami/mq/mnesia/deeper"],
        ["/out/above"],
        ["/out/absolute"],
        ["/run/current", "/run/current/below"],
        ["/run/real", "/run/real/new"],
        ["/dev/inside"],
        ["/srv/../bitnami/mq/mnesia"],
        ["/circle/a"],
    ],
    ids=" ".join,
)
async def test_a_volume_at_a_link_of_the_image_is_where_runc_has_it(
    client: Client, linked: Path, volume: Path, tmp_path: Path, destinations: list[str]
) -> None:
    if shutil.which("runc") is None:
        pytest.skip("runc, the judge, is not installed")
    spec = spec_of(volume, destinations)
    judged = by_runc(linked, spec, tmp_path)
    assert await by_agent(client, spec) == judged
    assert (judged is None) == ("circle" in destinations[0])

"""Roots that are directories of the share, in place of images."""

import subprocess
from pathlib import Path

import pytest

from tests.guest.client import CONTAINER, AgentRefused, Client, runtime_spec
from tests.support.rootfs import make_rootfs
from vmsandbox.protocol.messages import NO_IMAGE, CreateContainer, DeleteContainer, StartContainer


@pytest.fixture
def share(agent: Path) -> Path:
    """The share, by way of the agent's mount namespace, mounted as in a guest; it has a root directory `v/root`."""
    pattern = f"^[^ ]*python3 .*agent_on_host {agent}"
    pid = subprocess.run(["pgrep", "-n", "-f", pattern], check=True, capture_output=True, text=True).stdout.strip()
    mount = ["mount", "-t", "tmpfs", "-o", "nosuid,nodev", "share", f"{agent}/state/share"]
    subprocess.run(["nsenter", "--mount", "--target", pid, *mount], check=True)
    share = Path(f"/proc/{pid}/root{agent}/state/share")
    (share / "v").mkdir()
    make_rootfs(share / "v/root")
    return share


def creation(agent: Path, script: str, path: str = "v/root") -> CreateContainer:
    return CreateContainer(CONTAINER, NO_IMAGE, runtime_spec(script), root=f"{agent}/state/share/{path}")


async def test_a_container_writes_to_the_directory_which_stays(client: Client, agent: Path, share: Path) -> None:
    await client.call(creation(agent, "echo kept >/file"))
    await client.call(StartContainer(CONTAINER))
    assert (await client.exit()).exit_code == 0
    await client.call(DeleteContainer(CONTAINER))
    assert (share / "v/root/file").read_text() == "kept\n"
    assert (share / "v/root/bin").is_dir()


async def test_set_user_id_bits_and_devices_count_in_a_root_although_they_do_not_in_the_share(
    client: Client, agent: Path, share: Path
) -> None:
    await client.call(creation(agent, "awk '$5 == \"/\" {print $6}' /proc/self/mountinfo | grep -E 'nosuid|nodev'"))
    await client.call(StartContainer(CONTAINER))
    assert (await client.exit()).exit_code == 1


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../images/image", "images/image cannot be opened"),
        ("v/link", "v/link cannot be opened"),
        ("none", "none cannot be opened"),
        (".", "not below the share"),
    ],
)
async def test_nothing_but_a_directory_of_the_share_is_a_root(
    client: Client, agent: Path, share: Path, path: str, said: str
) -> None:
    (share / "v/link").symlink_to("root")
    with pytest.raises(AgentRefused, match=said):
        await client.call(creation(agent, "true", path))
    assert not list((share.parent / "containers").iterdir())

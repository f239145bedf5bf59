"""The sources of a container's volumes, whatever a sibling changes in their paths."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.guest.client import CONTAINER, AgentRefused, Client, runtime_spec
from vmsandbox.protocol.messages import DeleteContainer, MakeTmpfs, StartContainer, Stream


@pytest.fixture
def state(agent: Path) -> Path:
    """The agent's own directory, by way of its mount namespace."""
    pattern = f"^[^ ]*python3 .*agent_on_host {agent}"
    pid = subprocess.run(["pgrep", "-n", "-f", pattern], check=True, capture_output=True, text=True).stdout.strip()
    return Path(f"/proc/{pid}/root{agent}/state")


@pytest.fixture
async def share(client: Client, state: Path) -> AsyncIterator[Path]:
    share = state / "share"
    (share / "v/sub/deep").mkdir(parents=True)
    (share / "v/sub/file").write_text("of the volume\n")
    (state / "secret").write_text("of the guest\n")
    yield share
    assert not list((state / "sources").iterdir())


def spec_of(agent: Path, script: str, *sources: str) -> dict[str, Any]:
    spec = runtime_spec(script)
    spec["mounts"] += [
        {"destination": f"/m{at}", "type": "bind", "source": f"{agent}/state/{source}", "options": ["rbind", "rw"]}
        for at, source in enumerate(sources)
    ]
    return spec


async def printed(client: Client, spec: dict[str, Any]) -> str:
    await client.create("", spec=spec)
    await client.call(StartContainer(CONTAINER))
    text = await (await client.stream(Stream.STDOUT)).read_all()
    await client.call(DeleteContainer(CONTAINER))
    return text.decode()


async def test_a_volume_and_its_parts_are_mounted(agent: Path, client: Client, share: Path) -> None:
    spec = spec_of(agent, "ls /m0 /m1; cat /m2; echo x >/m1/new", "share/v/sub", "share/v/sub/deep", "share/v/sub/file")
    assert await printed(client, spec) == "/m0:\ndeep\nfile\n\n/m1:\nof the volume\n"
    assert (share / "v/sub/deep/new").read_text() == "x\n"


@pytest.mark.parametrize("target", ["../..", "/", "sub"], ids=["out of the volume", "absolute", "within the volume"])
async def test_a_link_that_took_the_place_of_a_part_is_not_followed(
    agent: Path, client: Client, share: Path, target: str
) -> None:
    (share / "v/link").symlink_to(target)
    for source in ("share/v/link", "share/v/link/deep"):
        with pytest.raises(AgentRefused, match="cannot be opened: "):
            await client.create("", spec=spec_of(agent, "true", "share/v/sub", source))
    assert await printed(client, spec_of(agent, "cat /m0/file", "share/v/sub")) == "of the volume\n"


async def test_what_leads_out_of_the_share_is_refused(agent: Path, client: Client, share: Path) -> None:
    with pytest.raises(AgentRefused, match="cannot be opened: "):
        await client.create("", spec=spec_of(agent, "true", "share/v/../../secret"))


async def test_links_in_a_volume_in_memory_lead_nowhere_out_of_it(
    agent: Path, client: Client, share: Path, state: Path
) -> None:
    await client.call(MakeTmpfs("memory", 0, 0o777))
    (state / "tmpfs/memory/there").mkdir()
    (state / "tmpfs/memory/there/file").write_text("in memory\n")
    (state / "tmpfs/memory/inner").symlink_to("/there")
    (state / "tmpfs/memory/outer").symlink_to("../../secret")
    assert await printed(client, spec_of(agent, "cat /m0/file", "tmpfs/memory/inner")) == "in memory\n"
    with pytest.raises(AgentRefused, match="No such file"):
        await client.create("", spec=spec_of(agent, "true", "tmpfs/memory/outer"))


async def test_a_container_that_cannot_be_made_leaves_its_volumes_as_they_are(
    agent: Path, client: Client, share: Path
) -> None:
    spec = spec_of(agent, "true", "share/v")
    spec["process"]["args"] = ["/not-there"]
    with pytest.raises(AgentRefused):
        await client.create("", spec=spec)
    assert (share / "v/sub/file").read_text() == "of the volume\n"

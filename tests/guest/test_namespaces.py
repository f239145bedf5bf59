"""Namespaces, devices and image volumes that containers share with their pod or with the guest."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.guest.client import CONTAINER, AgentRefused, Client, runtime_spec
from tests.guest.conftest import running_agent
from vmsandbox.protocol.messages import (
    POD_NAMESPACE,
    DeleteContainer,
    GuestDevice,
    MakeTmpfs,
    SignalContainer,
    StartContainer,
    Stream,
    User,
)


async def run(client: Client, script: str, container_id: str = CONTAINER, **more: Any) -> str:
    """Run a container to the end of its output, which is returned."""
    await client.create(script, container_id=container_id, **more)
    await client.call(StartContainer(container_id))
    return (await (await client.stream(Stream.STDOUT, container_id)).read_all()).decode()


async def test_containers_that_share_the_pods_pids_see_each_other(client: Client) -> None:
    await client.create("exec sleep 1234", container_id="c1", pid_namespace=POD_NAMESPACE)
    await client.call(StartContainer("c1"))
    seen = await run(client, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '; echo $$", "c2", pid_namespace=POD_NAMESPACE)
    assert "sleep 1234" in seen
    assert "sleep infinity" in seen, "the holder is the first of them"
    assert seen.split()[-1] != "1"


async def test_the_pods_pids_outlive_every_container(client: Client) -> None:
    first = await run(client, "readlink /proc/self/ns/pid", "c1", pid_namespace=POD_NAMESPACE)
    await client.exit()
    await client.call(DeleteContainer("c1"))
    assert await run(client, "kill -9 1; readlink /proc/self/ns/pid", "c2", pid_namespace=POD_NAMESPACE) == first


async def test_an_orphan_in_the_pods_pids_is_reaped(client: Client) -> None:
    script = "(sleep 0.05 &); sleep 0.3; cat /proc/[0-9]*/stat"
    seen = await run(client, script, pid_namespace=POD_NAMESPACE)
    assert "(busybox)" in seen, "the holder"
    assert " Z " not in seen


async def test_a_container_joins_the_pids_of_another(client: Client) -> None:
    await client.create("exec sleep 1234", container_id="c1")
    await client.call(StartContainer("c1"))
    assert (await run(client, "cat /proc/1/cmdline | tr '\\0' ' '", "c2", pid_namespace="c1")).split() == [
        "sleep",
        "1234",
    ]


async def test_joining_the_pids_of_one_who_has_ended_is_refused(client: Client) -> None:
    await client.create("exec sleep 1234", container_id="c1")
    await client.call(StartContainer("c1"))
    await client.call(SignalContainer("c1", 9))
    await client.exit()
    with pytest.raises(AgentRefused, match="c1, whose processes are to be shared, has ended"):
        await client.create("true", container_id="c2", pid_namespace="c1")
    with pytest.raises(AgentRefused, match="there is no container c9"):
        await client.create("true", container_id="c2", pid_namespace="c9")


async def test_a_device_of_the_guest_is_given(client: Client) -> None:
    device = GuestDevice("/dev/nothing", "/dev/null", "rw")
    seen = await run(client, "echo gone >/dev/nothing && stat -c '%F %t:%T' /dev/nothing", devices=(device,))
    assert seen == "character special file 1:3\n"


@pytest.mark.parametrize("source", ["/dev/no-such-device", "/dev/../etc/passwd", "/etc/passwd"])
async def test_a_device_that_the_guest_has_not_is_named(client: Client, source: str) -> None:
    with pytest.raises(AgentRefused, match=f"the guest has no device {source}") as refused:
        await client.create("true", devices=(GuestDevice("/dev/x", source),))
    assert refused.value.code == "invalid_argument"


async def test_a_directory_stands_for_the_devices_in_it(client: Client) -> None:
    assert "tun" in await run(client, "ls /dev/inner", devices=(GuestDevice("/dev/inner", "/dev/net"),))


async def test_every_device_of_the_guest_is_given(client: Client) -> None:
    seen = (await run(client, "ls /dev", all_devices=True)).split()
    assert {"kmsg", "null", "pts"} <= set(seen)


def with_image(path: str) -> dict[str, Any]:
    spec = runtime_spec("ls /volume")
    source = f"/STATE/images/image{path}"
    spec["mounts"].append({"destination": "/volume", "type": "bind", "source": source, "options": ["rbind", "ro"]})
    return spec


async def mounted(client: Client, path: str) -> str:
    spec = with_image(path)
    spec["mounts"][-1]["source"] = spec["mounts"][-1]["source"].replace("/STATE", f"{client.directory}/state")
    return await run(client, "", spec=spec)


async def test_a_part_of_an_image_is_mounted(client: Client) -> None:
    assert (await mounted(client, "/etc")).split() == ["group", "passwd"]


async def test_a_part_that_an_image_has_not_is_named(client: Client) -> None:
    with pytest.raises(AgentRefused, match="volume image has no no/such/part") as refused:
        await mounted(client, "/no/such/part")
    assert refused.value.code == "invalid_argument"


@pytest.fixture
async def mapped(rootfs: Path) -> AsyncIterator[Client]:
    """The client of an agent whose pod has a user namespace: its root is 100000 of the guest."""
    with running_agent(rootfs, "100000") as directory:
        client = await Client.connect(directory)
        yield client
        await client.close()


async def test_a_pods_user_namespace_maps_its_root(mapped: Client) -> None:
    seen = await run(mapped, "cat /proc/self/uid_map /proc/self/gid_map; id -u")
    assert [line.split() for line in seen.splitlines()] == [["0", "100000", "65536"]] * 2 + [["0"]]


async def test_root_of_a_user_namespace_owns_its_files_and_writes_them(mapped: Client) -> None:
    script = "stat -c %u:%g / /bin /etc/passwd && echo new >>/etc/passwd && touch /file && stat -c %u:%g /file"
    assert (await run(mapped, script)).split() == ["0:0"] * 4


async def test_users_of_a_user_namespace_are_kept_apart(mapped: Client) -> None:
    assert (await run(mapped, "id -u; touch /etc/passwd || echo refused", user=User("web"))).split() == [
        "33",
        "refused",
    ]


async def test_containers_of_a_pod_share_its_user_namespace(mapped: Client) -> None:
    script = "readlink /proc/self/ns/user"
    first = await run(mapped, script, "c1")
    assert await run(mapped, script, "c2", pid_namespace=POD_NAMESPACE) == first


async def volume_in_memory(client: Client, path: str) -> str:
    spec = runtime_spec("touch /volume/file && stat -c '%a %g' /volume")
    source = f"{client.directory}/state/tmpfs/cache/{path}"
    spec["mounts"].append({"destination": "/volume", "type": "bind", "source": source, "options": ["rbind", "rw"]})
    return await run(client, "", spec=spec)


async def test_a_part_of_a_volume_in_memory_is_made_and_mounted(client: Client) -> None:
    await client.call(MakeTmpfs("cache", 1 << 20, 0o2770, 1000, "a/b"))
    await client.call(MakeTmpfs("cache", 1 << 20, 0o2770, 1000, "a/b"))
    assert await volume_in_memory(client, "a/b") == "2770 1000\n"


async def test_no_link_in_a_volume_in_memory_leads_out_of_it(client: Client) -> None:
    await client.call(MakeTmpfs("cache", 1 << 20, 0o777))
    await run(client, "", spec=linking(client))
    await client.exit()
    await client.call(DeleteContainer(CONTAINER))
    with pytest.raises(AgentRefused, match="volume cache cannot be opened: out: No such file"):
        await volume_in_memory(client, "out")
    with pytest.raises(AgentRefused):
        await client.call(MakeTmpfs("cache", 1 << 20, 0o777, 0, "out/below"))


def linking(client: Client) -> dict[str, Any]:
    """Makes a link to the guest's own directory in the volume, as a hostile container would."""
    spec = runtime_spec(f"ln -s {client.directory} /volume/out")
    source = f"{client.directory}/state/tmpfs/cache"
    spec["mounts"].append({"destination": "/volume", "type": "bind", "source": source, "options": ["rbind", "rw"]})
    return spec

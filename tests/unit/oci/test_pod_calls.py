"""Pods whose machine their caller makes and ends, over the door's socket."""

import asyncio
from typing import Any

import pytest

from tests.fakes.oci_runtime import OciRuntime
from tests.support.waiting import until
from tests.unit.oci.configs import config, namespaces
from vmsandbox.oci.host_namespaces import Identity
from vmsandbox.oci_command.daemon import Daemon
from vmsandbox.oci_command.errors import CommandError

pytestmark = pytest.mark.usefixtures("host")


async def call(daemon: Daemon, name: str, **arguments: Any) -> dict[str, Any]:
    return await asyncio.to_thread(daemon.call, name, id="s1", root="/run/root", **arguments)


async def create(daemon: Daemon, network: str = "/run/netns/one") -> None:
    kinds = namespaces("mount", "pid", "ipc", "uts", network=network)
    await call(daemon, "create_pod", config=config(linux=config()["linux"] | {"namespaces": kinds}))


async def test_a_wait_listens_no_longer_than_it_waits(daemon: Daemon, runtime: OciRuntime) -> None:
    with pytest.raises(CommandError, match="pod s1 has no machine"):
        await call(daemon, "wait_pod")
    assert runtime.listeners == []
    await create(daemon)
    waiting = asyncio.create_task(call(daemon, "wait_pod"))
    await until(lambda: len(runtime.listeners) == 1)
    await call(daemon, "stop_pod")
    await asyncio.wait_for(waiting, 10)
    await call(daemon, "wait_pod")
    await until(lambda: runtime.listeners == [])


async def test_a_pod_cannot_have_the_hosts_network_by_its_path(
    daemon: Daemon, runtime: OciRuntime, host: dict[str, Identity]
) -> None:
    host["/run/netns/the-hosts"] = host["/proc/self/ns/net"]
    with pytest.raises(CommandError, match="/run/netns/the-hosts is the host's network namespace"):
        await create(daemon, "/run/netns/the-hosts")
    assert runtime.sandboxes == {}

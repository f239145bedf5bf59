"""The network on a real kernel with the real plugins: made, given back, and in the face of plugins that fail."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.network_host import BRIDGE, delete_link, has_link, host_network, leases_in, made_on_host
from tests.fakes.network import PLUGINS
from tests.fakes.network_contract import NetworkContract, new_pod
from vmsandbox.config import NetworkConfig
from vmsandbox.errors import AlreadyExists, DeadlineExceeded, FailedPrecondition, Unavailable
from vmsandbox.model import PortMapping
from vmsandbox.network import Network, PodIdentity, namespace, netns_of, tap
from vmsandbox.network.config import BUILT_IN

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces: run as root")


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    async with host_network(tmp_path) as network:
        yield network


class TestNetwork(NetworkContract):
    pass


def scripted(tmp_path: Path, script: object, timeout: float = 60, rules: bool = True) -> Network:
    """A network whose list is the real bridge and, after it, the plugin that does what the script says."""
    (tmp_path / "net.d").mkdir(exist_ok=True)
    bridge = {
        "type": "bridge", "bridge": BRIDGE.bridge, "isGateway": True, "ipMasq": rules,
        "macspoofchk": rules,
        "ipam": {"type": "host-local", "dataDir": str(tmp_path / "leases"), "ranges": [[{"subnet": BRIDGE.subnet_v4}]]},
    }  # fmt: skip
    plugins = [bridge, {"type": "cni_plugin", "log": str(tmp_path / "log"), "script": script}]
    document = {"cniVersion": "1.0.0", "name": BUILT_IN, "plugins": plugins}
    (tmp_path / "net.d" / "10-scripted.conflist").write_text(json.dumps(document))
    directories = (PLUGINS, *NetworkConfig().plugin_directories)
    return Network(NetworkConfig(tmp_path / "net.d", directories, timeout, BRIDGE), tmp_path)


FAILS = {"error": {"code": 100, "msg": "broken on purpose"}}


def calls(tmp_path: Path) -> list[str]:
    return [json.loads(line)["command"] for line in (tmp_path / "log").read_text().splitlines()]


async def rules_of(pod: PodIdentity) -> list[str]:
    """Return the rules for masquerading, host ports and MACs."""
    found = []
    for command in (("iptables-save", "-t", "nat"), ("nft", "list", "ruleset", "bridge")):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        stdout, _ = await process.communicate()
        found += [line for line in stdout.decode().splitlines() if pod.sandbox_id in line]
    return found


async def assert_given_back(network: Network, tmp_path: Path, pod: PodIdentity) -> None:
    assert await made_on_host(pod.sandbox_id) == []
    assert await rules_of(pod) == []
    assert network.attached() == ()
    assert leases_in(tmp_path / "leases" / BUILT_IN) == []


async def test_a_failing_plugin_is_told_and_everything_is_given_back(network: Network, tmp_path: Path) -> None:
    pod, failing = new_pod(), scripted(tmp_path, {"ADD": FAILS})
    with pytest.raises(Unavailable, match=r"^network: the CNI plugin cni_plugin failed on ADD"):
        await failing.set_up(pod)
    assert calls(tmp_path) == ["ADD", "DEL"]
    await assert_given_back(failing, tmp_path, pod)


async def test_a_hanging_plugin_ends_at_its_deadline_and_everything_is_given_back(
    network: Network, tmp_path: Path
) -> None:
    pod, hanging = new_pod(), scripted(tmp_path, {"ADD": {"hang": str(tmp_path / "pids")}}, timeout=3)
    with pytest.raises(DeadlineExceeded, match="cni_plugin did not end its ADD within 3 s"):
        await hanging.set_up(pod)
    await assert_given_back(hanging, tmp_path, pod)


async def test_a_cancelled_set_up_gives_everything_back(network: Network, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pod, hanging = new_pod(), scripted(tmp_path, {"ADD": {"hang": str(pids)}})
    task = asyncio.create_task(hanging.set_up(pod))
    while not pids.exists():
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # an impatient caller
    with pytest.raises(asyncio.CancelledError):
        await task
    await assert_given_back(hanging, tmp_path, pod)


DAEMON = """
import asyncio, pathlib, sys
from tests.fakes.network import PLUGINS
from vmsandbox.config import NetworkConfig
from vmsandbox.network import Network, PodIdentity
state = pathlib.Path(sys.argv[1])
directories = (PLUGINS, *NetworkConfig().plugin_directories)
network = Network(NetworkConfig(state / "net.d", directories), state)
asyncio.run(network.set_up(PodIdentity(sys.argv[2], "default", "web", "uid")))
"""


async def test_what_a_killed_daemon_was_making_is_given_back_by_the_next(network: Network, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    pod, hanging = new_pod(), scripted(tmp_path, {"ADD": {"hang": str(pids)}})
    arguments = (sys.executable, "-c", DAEMON, str(tmp_path), pod.sandbox_id)
    daemon = await asyncio.create_subprocess_exec(*arguments, cwd=PLUGINS.parents[1])
    while not pids.exists():
        await asyncio.sleep(0.01)
    daemon.kill()
    await daemon.wait()
    for pid in map(int, pids.read_text().split()):
        os.kill(pid, signal.SIGKILL)
    assert hanging.attached() == (pod.sandbox_id,) and leases_in(tmp_path / "leases" / BUILT_IN)
    await hanging.tear_down(pod.sandbox_id)
    await assert_given_back(hanging, tmp_path, pod)


async def test_a_plugin_that_cannot_undo_leaves_a_record_for_another_try(network: Network, tmp_path: Path) -> None:
    pod, stuck = new_pod(), scripted(tmp_path, {"DEL": FAILS})
    await stuck.connect_tap(await stuck.set_up(pod))
    with pytest.raises(Unavailable, match="cni_plugin failed on DEL"):
        await stuck.tear_down(pod.sandbox_id)
    assert stuck.attached() == (pod.sandbox_id,)
    assert leases_in(tmp_path / "leases" / BUILT_IN) == []  # the other plugin was called all the same

    record = tmp_path / "attachments" / f"{pod.sandbox_id}.json"
    record.write_text(record.read_text().replace("broken on purpose", "x").replace('"DEL"', '"NONE"'))
    await stuck.tear_down(pod.sandbox_id)
    await assert_given_back(stuck, tmp_path, pod)


async def test_delete_uses_the_configuration_that_add_used(network: Network, tmp_path: Path) -> None:
    pod, before = new_pod(), scripted(tmp_path, {})
    await before.set_up(pod)
    (tmp_path / "net.d" / "10-scripted.conflist").write_text("broken")
    await before.tear_down(pod.sandbox_id)
    assert calls(tmp_path) == ["ADD", "DEL"]
    await assert_given_back(before, tmp_path, pod)


async def test_a_missing_plugin_is_an_error_before_anything_is_made(network: Network, tmp_path: Path) -> None:
    pod, incomplete = new_pod(), scripted(tmp_path, {})
    path = tmp_path / "net.d" / "10-scripted.conflist"
    path.write_text(path.read_text().replace("cni_plugin", "absent"))
    with pytest.raises(FailedPrecondition, match="the CNI plugin absent is not in"):
        await incomplete.set_up(pod)
    await assert_given_back(incomplete, tmp_path, pod)


async def test_host_ports_are_known_after_a_restart_and_given_back(network: Network, tmp_path: Path) -> None:
    pod = new_pod()
    await network.set_up(pod, [PortMapping(80, 18199)])
    assert await rules_of(pod)
    restarted = Network(NetworkConfig(tmp_path / "none"), tmp_path)
    await restarted.tear_down(pod.sandbox_id)
    assert not await rules_of(pod)


async def test_a_namespace_that_is_gone_does_not_keep_the_rest_from_being_given_back(
    network: Network, tmp_path: Path
) -> None:
    # Without the namespace the bridge plugin does not look for its rules again (docs/on-disk.md).
    pod, plain = new_pod(), scripted(tmp_path, {}, rules=False)
    await plain.set_up(pod)
    await namespace.remove(netns_of(pod.sandbox_id))
    await plain.tear_down(pod.sandbox_id)
    await assert_given_back(plain, tmp_path, pod)


async def test_what_a_kill_leaves_of_a_namespace_is_removed(network: Network) -> None:
    pod = new_pod()
    path = netns_of(pod.sandbox_id)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    await network.tear_down(pod.sandbox_id)
    assert await made_on_host(pod.sandbox_id) == []


async def test_somebody_elses_interface_of_the_taps_name_stays(network: Network, tmp_path: Path) -> None:
    pod = new_pod()
    name = tap.name_of(pod.sandbox_id)
    await namespace.run(f"make {name}", lambda ipr: ipr.link("add", ifname=name, kind="bridge"))
    try:
        with pytest.raises(AlreadyExists, match=name):
            await network.set_up(pod)
        assert await has_link(name)
    finally:
        await delete_link(name)
    await assert_given_back(network, tmp_path, pod)


async def test_pods_made_at_once_get_addresses_of_their_own(network: Network) -> None:
    made = await asyncio.gather(*(network.set_up(new_pod()) for _ in range(8)))
    addresses = [address for pod in made for address in pod.interface.addresses]
    assert len(addresses) == len(set(addresses)) == 16
    assert len({pod.tap for pod in made}) == 8

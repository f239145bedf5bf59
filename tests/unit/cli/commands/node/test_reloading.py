"""SIGHUP: what a daemon takes of a changed configuration, and what it says."""

import asyncio
import logging
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.host import FakeWorld, pod
from tests.unit.streaming.server.test_tls import certificate
from vmsandbox import config
from vmsandbox.cli.commands.node import reloading
from vmsandbox.cli.commands.node.reloading import Reloading
from vmsandbox.config import Config, ConfigFile, ImagesConfig, NetworkConfig
from vmsandbox.cri.server import NodeInfo
from vmsandbox.errors import FailedPrecondition, InvalidArgument, ResourceExhausted, VmsandboxError
from vmsandbox.exporters import Exporters
from vmsandbox.hypervisor import Accelerator
from vmsandbox.images import ImageStore
from vmsandbox.network import Network
from vmsandbox.service import RuntimeService
from vmsandbox.state import State
from vmsandbox.streaming.server import StreamingServer

AT_FIRST = "limits: {memory: 2Gi}\nmachine: {accelerator: tcg}\n"


class Daemon:
    """The parts of a daemon that a reload changes, and what it has logged."""

    def __init__(self, reload: Reloading, caplog: pytest.LogCaptureFixture) -> None:
        self.reload = reload
        self.logged: list[Config] = []
        reload.configure_log = self.logged.append
        self._caplog = caplog

    async def reads(self, text: str) -> str:
        """The last line of the journal about a reload of this file."""
        assert self.reload.file is not None
        self.reload.file.write_text(text)
        self._caplog.clear()
        await self.reload.reload()
        return self._caplog.messages[-1]


@pytest.fixture(autouse=True)
def host_that_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(_: ConfigFile) -> list[VmsandboxError]:
        return []

    monkeypatch.setattr(reloading, "mistakes_of_host", nothing)


@pytest.fixture
async def daemon(world: FakeWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Daemon]:
    caplog.set_level(logging.INFO, "vmsandbox.daemon")
    file = tmp_path / "config.yaml"
    file.write_text(AT_FIRST)
    before = config.load(file)
    made = certificate(tmp_path)
    with State(tmp_path / "state.db") as state:
        images = await ImageStore.open(tmp_path / "store", ImagesConfig())
        network = Network(NetworkConfig(), tmp_path / "network")
        host = replace(world.host(state), images=images, network=network)
        host.profiles.clear()
        service = RuntimeService(replace(world.host(state), limits=before.limits))
        async with service.running(), StreamingServer(service, made).running() as streaming:
            node = NodeInfo(before.machine_handlers, network.ready, tmp_path)
            yield Daemon(
                Reloading(file, before, host, service, streaming, Exporters(None), node, lambda _: None), caplog
            )


async def test_a_file_without_changes_says_so(daemon: Daemon) -> None:
    assert await daemon.reads(AT_FIRST) == "the configuration is reloaded: no setting differs"


async def test_settings_are_named_by_when_they_take_effect(daemon: Daemon) -> None:
    text = "log_level: debug\nsocket: /s\nmachine: {accelerator: tcg, vcpus: 2}\nlimits: {memory: 3Gi}"
    said = await daemon.reads(text)
    assert said == (
        "the configuration is reloaded: takes effect at once: log_level, limits.memory; "
        "takes effect for new pods: machine.vcpus; needs a restart: socket"
    )
    assert [each.log_level for each in daemon.logged] == ["debug"]
    assert daemon.reload.config.socket == Config().socket
    again = await daemon.reads(text)
    assert again == "the configuration is reloaded: needs a restart: socket"


async def test_new_pods_are_made_as_the_file_says_now(daemon: Daemon) -> None:
    await daemon.reads("machine: {accelerator: tcg, vcpus: 3}\nhandlers: {large: {memory: 1Gi}}")
    profiles = daemon.reload.host.profiles
    assert set(profiles) == {"", "vmsandbox", "large"}
    assert profiles[""].machine.vcpus == 3
    assert profiles["large"].machine.memory == 1 << 30
    assert profiles["large"].accelerator is Accelerator.TCG
    assert daemon.reload.node.handlers == ("", "vmsandbox", "large")
    assert daemon.reload.node.config["machine"]["vcpus"] == 3  # type: ignore[index, call-overload]


async def test_limits_take_effect_at_once(daemon: Daemon) -> None:
    service = daemon.reload.service
    await daemon.reads("limits: {memory: 64Mi}\nmachine: {accelerator: tcg, memory: 0, overhead: 64Mi}")
    with pytest.raises(ResourceExhausted, match="may take 64 MiB"):
        await service.run_pod_sandbox(pod())
    await daemon.reads("limits: {memory: 1Gi}\nmachine: {accelerator: tcg}")
    await service.remove_pod_sandbox(await service.run_pod_sandbox(pod()))


async def test_images_and_network_use_the_settings_of_the_file(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []
    monkeypatch.setattr(ImageStore, "configure", lambda _, settings: given.append(settings.pull_timeout))
    monkeypatch.setattr(Network, "configure", lambda _, settings: given.append(settings.plugin_timeout))
    await daemon.reads(AT_FIRST + "images: {pull_timeout: 7}\nnetwork: {plugin_timeout: 8}")
    assert given == [7, 8]


async def test_a_file_with_mistakes_changes_nothing_and_all_of_them_are_told(daemon: Daemon) -> None:
    before = daemon.reload.config
    said = await daemon.reads("log_level: loud\nlimits: {memory: 10}")
    assert said.startswith("the configuration is not reloaded, and nothing changes: 2 mistakes: ")
    assert "config.yaml:1: log_level: 'loud' is not one of" in said
    assert "config.yaml:2: limits.memory: 10 is too small" in said
    assert (daemon.reload.config, daemon.logged) == (before, [])


@pytest.mark.parametrize("culprit", ["mistakes_of_host", "reload_host"])
async def test_what_the_host_cannot_fulfil_changes_nothing(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, culprit: str
) -> None:
    async def refuse(*_: object) -> list[VmsandboxError]:
        if culprit == "reload_host":
            raise FailedPrecondition("no guest runs under KVM")
        return [InvalidArgument("no guest runs under KVM")]

    monkeypatch.setattr(reloading, culprit, refuse)
    before = daemon.reload.config
    said = await daemon.reads("machine: {accelerator: kvm}")
    assert said == "the configuration is not reloaded, and nothing changes: no guest runs under KVM"
    assert (daemon.reload.config, daemon.logged) == (before, [])


async def test_a_file_that_is_gone_changes_nothing(daemon: Daemon) -> None:
    assert daemon.reload.file is not None
    daemon.reload.file = daemon.reload.file.with_name("gone.yaml")
    before = daemon.reload.config
    await daemon.reload.reload()
    assert daemon.reload.config == before


async def test_the_signal_reloads_and_the_service_manager_is_told(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.fspath(tmp_path / "n"))
        monkeypatch.setenv("NOTIFY_SOCKET", os.fspath(tmp_path / "n"))
        async with daemon.reload.on_signal():
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGHUP)
                told = await asyncio.to_thread(manager.recv, 100)
                name, _, moment = told.partition(b"\nMONOTONIC_USEC=")
                assert (name, await asyncio.to_thread(manager.recv, 100)) == (b"RELOADING=1", b"READY=1")
                assert int(moment) > 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


async def test_a_defect_does_not_keep_the_daemon_from_the_next_reload(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> ConfigFile:
        raise KeyError("defect")

    with monkeypatch.context() as broken:
        broken.setattr(reloading, "read_file", fail)
        assert await daemon.reads(AT_FIRST) == "the configuration is not reloaded"
    assert await daemon.reads(AT_FIRST) == "the configuration is reloaded: no setting differs"


async def test_a_new_certificate_is_used_for_connections_from_then_on(daemon: Daemon, tmp_path: Path) -> None:
    port = int(daemon.reload.streaming._base_url.rpartition(":")[2])

    def served() -> str:
        return ssl.get_server_certificate(("127.0.0.1", port))

    old = await asyncio.to_thread(served)
    certificate(tmp_path)
    await daemon.reads(AT_FIRST)
    new = await asyncio.to_thread(served)
    assert old != new
    assert new == (tmp_path / "certificate.pem").read_text()
    (tmp_path / "key.pem").write_text("")
    assert (await daemon.reads(AT_FIRST)).startswith("the configuration is not reloaded, and nothing changes: the cert")
    assert await asyncio.to_thread(served) == new

"""Messages of `vmsandbox serve` to its service manager and to the journal."""

import logging
import os
import socket

import pytest

from tests.fakes.host import app, pod
from vmsandbox.cli.commands.node.serve import tell_recovery
from vmsandbox.cli.commands.node.service_manager import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(tmp_path, monkeypatch, abstract):
    address = f"@vmsandbox-test-{os.getpid()}" if abstract else os.fspath(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if abstract else address)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        notify("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_without_a_service_manager_nobody_is_told(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


async def test_how_the_taking_back_of_pods_has_ended_is_one_line(world, caplog):
    caplog.set_level(logging.INFO, "vmsandbox.daemon")
    async with world.daemon() as service:
        await tell_recovery(service)
        assert caplog.messages == []
        for name in ("lives", "lives too", "dies"):
            sandbox = await service.run_pod_sandbox(pod(name))
            await service.create_container(sandbox, app())
    await world.hypervisor.destroy(f"vmsandbox-{sandbox}")
    async with world.daemon() as service:
        await tell_recovery(service)
    told = [record.getMessage() for record in caplog.records if record.name == "vmsandbox.daemon"]
    assert told == ["pods of the earlier daemon that run: 2, their containers: 2; that have ended: 1"]

"""The ways to agents, found again by another process than the one that has made them."""

import os
from pathlib import Path

import pytest

from vmsandbox.errors import FailedPrecondition
from vmsandbox.guest.transport import vhost_daemon
from vmsandbox.guest.transport.transports import Transports
from vmsandbox.guest.transport.vhost_device import VhostDevice
from vmsandbox.process import ProcessIdentity


@pytest.mark.parametrize("place", ["vsock", "."], ids=["now", "before daemons had users of their own"])
async def test_a_daemon_is_found_and_stopped_where_its_version_has_put_its_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    this = ProcessIdentity.of(os.getpid())
    stopped: list[VhostDevice] = []
    monkeypatch.setattr(vhost_daemon, "find", lambda directory, _cid: this if directory == tmp_path / place else None)

    def stop(device: VhostDevice) -> None:
        stopped.append(device)

    monkeypatch.setattr(VhostDevice, "stop", stop)
    transports = Transports(tmp_path / "cids", kernel=False)
    await transports._cids.allocate("sandbox")
    assert transports.reopen("sandbox", tmp_path / "vsock").device.socket == tmp_path / place / "vhost.sock"
    transports.stop("sandbox", tmp_path / "vsock")
    assert [device.device.socket for device in stopped] == [tmp_path / place / "vhost.sock"]
    with pytest.raises(FailedPrecondition):
        transports.reopen("sandbox", tmp_path / "vsock")

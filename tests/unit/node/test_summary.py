"""The line about a host at the daemon's start."""

import pytest

from tests.fakes.host import FakeWorld
from vmsandbox.config import Config
from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.node import summary as summary_module
from vmsandbox.node.summary import summary
from vmsandbox.state import State


async def test_what_cannot_be_found_out_is_said_and_ends_nothing(
    world: FakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> str:
        raise Unavailable("libvirt does not answer")

    def refuse(*_: object) -> None:
        raise FailedPrecondition("it is broken")

    monkeypatch.setattr(world.hypervisor, "version", fail)
    monkeypatch.setattr(summary_module, "load_image", refuse)
    monkeypatch.setattr(world.network, "network_list", refuse, raising=False)
    with State(world.directory / "state.db") as state:
        told = await summary(Config(), world.host(state))
    assert told == (
        "libvirt of an unknown version (libvirt does not answer), at fake:///; accelerator KVM; "
        "guest image test-build (it is broken); network: none yet: it is broken; handlers: vmsandbox"
    )

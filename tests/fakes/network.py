"""A network without a kernel, held to the same suite as the real one (`tests.fakes.network_contract`)."""

import time
from collections.abc import Sequence
from pathlib import Path

from vmsandbox.config import NetworkConfig
from vmsandbox.errors import AlreadyExists, NotFound, VmsandboxError
from vmsandbox.model import Finding, InterfaceUsage, PodNetwork, PortMapping
from vmsandbox.network import PodIdentity, netns_of, tap
from vmsandbox.network.attachment import check_identity
from vmsandbox.network.network import Network
from vmsandbox.protocol.messages import Interface, Route

PLUGINS = Path(__file__).parent
"""The directory of `cni_plugin`, the plugin that does what a test tells it."""


class FakeNetwork(Network):
    """Hands out addresses of 10.0.0.0/24 and remembers who has one."""

    def __init__(self) -> None:
        super().__init__(NetworkConfig(), Path("/nonexistent"))
        self.networks: dict[str, PodNetwork] = {}
        self.port_mappings: dict[str, tuple[PortMapping, ...]] = {}
        self.connected: set[str] = set()
        self.taps: set[str] = set()
        """The ids of sandboxes whose tap is made, and of no network yet."""
        self.set_up_error: VmsandboxError | None = None
        """Raised by `set_up`, which then gives back what it took, as the real one does."""
        self.tear_down_error: VmsandboxError | None = None
        """Raised by `tear_down`, which then keeps the network recorded, as the real one does."""

    async def make_tap(self, sandbox_id: str) -> str:
        self.taps.add(sandbox_id)
        return tap.name_of(sandbox_id)

    async def set_up(
        self, pod: PodIdentity, port_mappings: Sequence[PortMapping] = (), *, tap_made: bool = False
    ) -> PodNetwork:
        check_identity(pod)
        if pod.sandbox_id in self.networks:
            raise AlreadyExists(f"sandbox {pod.sandbox_id} has a network")
        if self.set_up_error is not None:
            raise self.set_up_error
        if tap_made:
            self.taps.remove(pod.sandbox_id)
        host = min(set(range(2, 255)) - {self._host(network) for network in self.networks.values()})
        interface = Interface(
            "eth0", f"02:00:00:00:00:{host:02x}", 1500, (f"10.0.0.{host}/24",), (Route("0.0.0.0/0", "10.0.0.1"),)
        )
        network = PodNetwork(str(netns_of(pod.sandbox_id)), tap.name_of(pod.sandbox_id), interface)
        self.networks[pod.sandbox_id] = network
        self.port_mappings[pod.sandbox_id] = tuple(port_mappings)
        return network

    async def join(self, sandbox_id: str, source: Path, *, tap_made: bool = False) -> PodNetwork | None:
        if not source.exists():
            raise NotFound(f"there is no namespace {source}")
        return await self.set_up(PodIdentity(sandbox_id, "", "", ""), tap_made=tap_made)

    async def connect_tap(self, network: PodNetwork) -> None:
        if network not in self.networks.values():
            raise NotFound(f"there is no interface {network.tap}")
        self.connected.add(network.tap)

    async def usage(self, network: PodNetwork) -> InterfaceUsage:
        if network.tap not in self.connected:
            raise NotFound(f"there is no interface {network.tap}")
        return InterfaceUsage(time.time_ns(), network.interface.name, 3000, 30, 0, 0, 2000, 20, 0, 0)

    async def tear_down(self, sandbox_id: str) -> None:
        if self.tear_down_error is not None and sandbox_id in self.networks:
            raise self.tear_down_error
        network = self.networks.pop(sandbox_id, None)
        self.taps.discard(sandbox_id)
        self.port_mappings.pop(sandbox_id, None)
        if network is not None:
            self.connected.discard(network.tap)

    def attached(self) -> tuple[str, ...]:
        return tuple(sorted(self.networks))

    async def check(self) -> tuple[Finding, ...]:
        return (Finding(True, "pods are attached to a network that is not there"),)

    @staticmethod
    def _host(network: PodNetwork) -> int:
        return int(network.interface.addresses[0].rpartition(".")[2].partition("/")[0])

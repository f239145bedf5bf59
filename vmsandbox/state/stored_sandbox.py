"""The record of a sandbox as it is on disk, made from the live one and back (docs/on-disk.md).

The classes here and in `stored_container` change when the form on disk does, and for no other reason. Configurations
(`config`, `image_config`) are written once, and afterwards only their limits change. They are stored in the model's own
encoded form, whose every field a golden file pins (tests/unit/state/test_schema.py): a copy of those twenty classes
would say the same twice.

A field that is added has a default, which stands for what an earlier version did without it. Nothing else may change
without a new schema (`migrations`).
"""

from dataclasses import dataclass, field

from vmsandbox.model import (
    BootTimings,
    MachineSize,
    PodNetwork,
    PodSandboxConfig,
    SandboxState,
    SizeRules,
    StartTimings,
)
from vmsandbox.protocol.bounds import Count
from vmsandbox.protocol.messages import Dns, Interface, Route
from vmsandbox.state.records import SandboxRecord


@dataclass(frozen=True, slots=True)
class StoredRoute:
    """`Route`."""

    destination: str
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class StoredInterface:
    """`Interface`."""

    name: str
    mac: str
    mtu: int = 1500
    addresses: tuple[str, ...] = ()
    routes: tuple[StoredRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredDns:
    """`Dns`."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredNetwork:
    """`PodNetwork`."""

    netns: str
    tap: str
    interface: StoredInterface
    dns: StoredDns = field(default_factory=StoredDns)

    def restored(self) -> PodNetwork:
        """Return the pod's network."""
        it = self.interface
        routes = tuple(Route(each.destination, each.gateway) for each in it.routes)
        dns = Dns(self.dns.servers, self.dns.searches, self.dns.options)
        return PodNetwork(self.netns, self.tap, Interface(it.name, it.mac, it.mtu, it.addresses, routes), dns)


@dataclass(frozen=True, slots=True)
class StoredTimings:
    """`BootTimings`, in seconds."""

    prepare: float = 0
    machine: float = 0
    kernel: float = 0
    agent: float = 0
    configure: float = 0


@dataclass(frozen=True, slots=True)
class StoredStart:
    """`StartTimings`, in seconds."""

    admitted: float | None = None
    network: float | None = None
    machine: float | None = None
    agent: float | None = None
    configured: float | None = None
    ready: float | None = None


@dataclass(frozen=True, slots=True)
class StoredSizes:
    """`SizeRules`; memory in bytes."""

    default_vcpus: int
    default_memory: Count
    overhead: Count
    booted_vcpus: int
    booted_memory: Count
    bound_vcpus: int
    bound_memory: Count
    possible_vcpus: int  # noqa: V107 - older versions read it
    """An earlier version let emulated machines have fewer than `bound_vcpus`; the same today."""

    def restored(self) -> SizeRules:
        """Return the rules."""
        return SizeRules(
            default=MachineSize(self.default_vcpus, self.default_memory),
            overhead=self.overhead,
            booted=MachineSize(self.booted_vcpus, self.booted_memory),
            bound=MachineSize(self.bound_vcpus, self.bound_memory),
        )


@dataclass(frozen=True, slots=True)
class StoredSandbox:
    """`SandboxRecord`."""

    id: str
    config: PodSandboxConfig
    state: str
    created_at: Count
    memory: Count = 0
    vcpus: int = 0
    sizes: StoredSizes | None = None
    boots: int = 1
    network: StoredNetwork | None = None
    kernel: str = ""
    boot_id: str = ""
    secret: str = field(default="", repr=False)
    timings: StoredTimings = field(default_factory=StoredTimings)
    message: str = ""
    accelerator: str = ""
    start: StoredStart = field(default_factory=StoredStart)

    def restored(self) -> SandboxRecord:
        """Return the record. Raises ValueError if this version does not know its state."""
        times, start = self.timings, self.start
        return SandboxRecord(
            id=self.id,
            config=self.config,
            state=SandboxState(self.state),
            created_at=self.created_at,
            memory=self.memory,
            vcpus=self.vcpus,
            sizes=self.sizes.restored() if self.sizes else None,
            boots=self.boots,
            network=self.network.restored() if self.network else None,
            kernel=self.kernel,
            boot_id=self.boot_id,
            secret=bytes.fromhex(self.secret).hex(),
            timings=BootTimings(times.prepare, times.machine, times.kernel, times.agent, times.configure),
            message=self.message,
            accelerator=self.accelerator,
            start=StartTimings(
                start.admitted, start.network, start.machine, start.agent, start.configured, start.ready
            ),
        )


def stored_sandbox(record: SandboxRecord) -> StoredSandbox:
    """Return the form of a sandbox on disk."""
    times, start = record.timings, record.start
    return StoredSandbox(
        id=record.id,
        config=record.config,
        state=record.state.value,
        created_at=record.created_at,
        memory=record.memory,
        vcpus=record.vcpus,
        sizes=_stored_sizes(record.sizes) if record.sizes else None,
        boots=record.boots,
        network=_stored_network(record.network) if record.network else None,
        kernel=record.kernel,
        boot_id=record.boot_id,
        secret=record.secret,
        timings=StoredTimings(times.prepare, times.machine, times.kernel, times.agent, times.configure),
        message=record.message,
        accelerator=record.accelerator,
        start=StoredStart(start.admitted, start.network, start.machine, start.agent, start.configured, start.ready),
    )


def _stored_sizes(rules: SizeRules) -> StoredSizes:
    default, booted, bound = rules.default, rules.booted, rules.bound
    return StoredSizes(
        default_vcpus=default.vcpus,
        default_memory=default.memory,
        overhead=rules.overhead,
        booted_vcpus=booted.vcpus,
        booted_memory=booted.memory,
        bound_vcpus=bound.vcpus,
        bound_memory=bound.memory,
        possible_vcpus=bound.vcpus,
    )


def _stored_network(network: PodNetwork) -> StoredNetwork:
    it, dns = network.interface, network.dns
    routes = tuple(StoredRoute(each.destination, each.gateway) for each in it.routes)
    interface = StoredInterface(it.name, it.mac, it.mtu, it.addresses, routes)
    return StoredNetwork(network.netns, network.tap, interface, StoredDns(dns.servers, dns.searches, dns.options))

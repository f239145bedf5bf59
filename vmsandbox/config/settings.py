"""The settings: dataclasses whose fields are the keys of the file. What they mean is said in `examples/config.yaml`.

A setting that is not in the file has the default given here. Beside its default stand its rule (`rules`), or why any
value of its type will do, and what a reload does when it has changed.
"""

import enum
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from vmsandbox.config import rules
from vmsandbox.config.declaring import Effect, section, setting
from vmsandbox.typed_yaml import Size

AUTO = "auto"
"""The value of `libvirt` that takes the system's libvirt where it answers, and else starts one of our own."""

MACHINE_HANDLER = "vmsandbox"
"""The RuntimeClass handler that there is without configuration: pods of it are machines, made as `machine` says."""

MOST_VCPUS = 240
"""vCPUs of a machine at most. With more, x86 needs an IOMMU with interrupt remapping; our domains have none."""
MOST_MEMORY = 1 << 52
"""Bytes that an x86 processor can address (52 bits of physical addresses)."""
LEAST_MEMORY = 64 << 20
"""Bytes of a machine's memory at least, with its overhead."""

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")

_LARGEST_FILE = 1 << 44
"""Bytes of a file on ext4."""
_MOST_BOOTS = _MOST_WAITING = 1024
_MOST_IOPS = 1_000_000_000
"""The largest number of operations a second in QEMU's throttle groups."""

_VCPUS = rules.between(1, MOST_VCPUS)
_MEMORY = rules.sized(0, MOST_MEMORY)
_BOOT_MEMORY = rules.sized(LEAST_MEMORY, MOST_MEMORY)
_SCRATCH_SIZE = rules.sized(16 << 20, _LARGEST_FILE)
_SCRATCH_BANDWIDTH = rules.sized(1 << 20)
_SCRATCH_IOPS = rules.between(10, _MOST_IOPS)
_CHOICE = "an enumeration has no other values"
_SWITCH = "a boolean has no other values"


class AcceleratorChoice(enum.Enum):
    """How guests run: `auto` is what has been found to work by booting."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class Mitigations(enum.Enum):
    """The measures of a guest's kernel against flaws of the CPU (the kernel's parameter of this name)."""

    AUTO = "auto"
    OFF = "off"


class TemplateChoice(enum.Enum):
    """Whether machines go on from a template."""

    AUTO = "auto"
    OFF = "off"


class VsockChoice(enum.Enum):
    """The way to the agents."""

    AUTO = "auto"
    KERNEL = "vsock"
    VHOST_DEVICE = "vhost-device-vsock"


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """The machines of a profile that wait for pods."""

    size: int = setting(0, rules.between(0, _MOST_WAITING), Effect.NEW_PODS)
    memory_max: Size | None = setting(None, rules.sized(LEAST_MEMORY), Effect.NEW_PODS)
    """Bytes of the host that they may take together; None: as many as pods leave."""


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """How machines are made where the pod does not say."""

    vcpus: int = setting(1, _VCPUS, Effect.NEW_PODS)
    memory: Size = setting(Size(256 << 20), _MEMORY, Effect.NEW_PODS)
    overhead: Size = setting(Size(128 << 20), _MEMORY, Effect.NEW_PODS)
    boot_memory: Size = setting(Size(384 << 20), _BOOT_MEMORY, Effect.NEW_PODS)
    max_vcpus: int | None = setting(None, _VCPUS, Effect.NEW_PODS)
    max_memory: Size | None = setting(None, _BOOT_MEMORY, Effect.NEW_PODS)
    scratch_size: Size = setting(Size(10 << 30), _SCRATCH_SIZE, Effect.NEW_PODS)
    scratch_bandwidth: Size | None = setting(None, _SCRATCH_BANDWIDTH, Effect.NEW_PODS)
    scratch_iops: int | None = setting(None, _SCRATCH_IOPS, Effect.NEW_PODS)
    boot_deadline: float = setting(60, rules.seconds, Effect.NEW_PODS)
    accelerator: AcceleratorChoice = setting(AcceleratorChoice.AUTO, _CHOICE, Effect.NEW_PODS)
    mitigations: Mitigations = setting(Mitigations.AUTO, _CHOICE, Effect.NEW_PODS)
    kernel_parameters: str = setting("", rules.kernel_parameters, Effect.NEW_PODS)
    debug: bool = setting(False, _SWITCH, Effect.NEW_PODS)
    template: TemplateChoice = setting(TemplateChoice.OFF, _CHOICE, Effect.NEW_PODS)
    pool: PoolConfig = section(PoolConfig)


@dataclass(frozen=True, slots=True)
class HandlerConfig:
    """A RuntimeClass handler: what differs from `machine`; None is as there."""

    vcpus: int | None = setting(None, _VCPUS, Effect.NEW_PODS)
    memory: Size | None = setting(None, _MEMORY, Effect.NEW_PODS)
    overhead: Size | None = setting(None, _MEMORY, Effect.NEW_PODS)
    boot_memory: Size | None = setting(None, _BOOT_MEMORY, Effect.NEW_PODS)
    max_vcpus: int | None = setting(None, _VCPUS, Effect.NEW_PODS)
    max_memory: Size | None = setting(None, _BOOT_MEMORY, Effect.NEW_PODS)
    scratch_size: Size | None = setting(None, _SCRATCH_SIZE, Effect.NEW_PODS)
    scratch_bandwidth: Size | None = setting(None, _SCRATCH_BANDWIDTH, Effect.NEW_PODS)
    scratch_iops: int | None = setting(None, _SCRATCH_IOPS, Effect.NEW_PODS)
    boot_deadline: float | None = setting(None, rules.seconds, Effect.NEW_PODS)
    accelerator: AcceleratorChoice | None = setting(None, _CHOICE, Effect.NEW_PODS)
    mitigations: Mitigations | None = setting(None, _CHOICE, Effect.NEW_PODS)
    kernel_parameters: str | None = setting(None, rules.kernel_parameters, Effect.NEW_PODS)
    debug: bool | None = setting(None, _SWITCH, Effect.NEW_PODS)
    template: TemplateChoice | None = setting(None, _CHOICE, Effect.NEW_PODS)
    pool: PoolConfig | None = None


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """Limits for all machines together."""

    memory: Size | None = setting(None, rules.sized(LEAST_MEMORY), Effect.AT_ONCE)
    parallel_boots: int | None = setting(None, rules.between(1, _MOST_BOOTS), Effect.AT_ONCE)


@dataclass(frozen=True, slots=True)
class UsersConfig:
    """The user ids that machines' processes run with, two for each machine.

    The default lies in a range that systemd's UIDS-GIDS leaves unused, and beyond the usual /etc/subuid.
    """

    first: int = setting(1_900_000_000, rules.between(1, (1 << 31) - 1), Effect.RESTART)
    count: int = setting(200_000, rules.between(2, (1 << 31) - 1), Effect.RESTART)


@dataclass(frozen=True, slots=True)
class ImagesConfig:
    """Where images are kept and how they are pulled."""

    directory: Path | None = setting(None, rules.absolute, Effect.RESTART)
    """None: `images` in the state directory."""
    registries_conf: Path | None = setting(None, rules.absolute, Effect.AT_ONCE)
    """containers-registries.conf(5): mirrors, insecure and blocked registries; None: the host's."""
    policy: Path | None = setting(None, rules.absolute, Effect.AT_ONCE)
    """containers-policy.json(5): which images may be used; None: the host's, or any image where it has none."""
    authfile: Path | None = setting(None, rules.absolute, Effect.AT_ONCE)
    """containers-auth.json(5): credentials where a pull brings none of its own, and for mirrors; None: none."""
    pull_timeout: float = setting(3600, rules.seconds, Effect.AT_ONCE)
    """Seconds one pull may take, all in all."""
    max_root_size: Size = setting(Size(32 << 30), rules.sized(1 << 20), Effect.AT_ONCE)
    """Bytes that an image's files may have together, unpacked."""
    max_root_memory: Size = setting(Size(1 << 30), rules.sized(1 << 20), Effect.AT_ONCE)
    """Bytes of memory that their names and attributes may take while the root image is made."""
    user: str = setting("vmsandbox-images", rules.account, Effect.RESTART)
    """The system user that programs run as which read images."""
    pinned: tuple[str, ...] = setting(
        (), "their grammar is that of `images.oci`: node.settings checks it", Effect.AT_ONCE
    )
    """Names of images that are told to be pinned: the kubelet does not remove those when it needs room."""


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """The network of pods on a host without CNI configuration."""

    bridge: str = setting("vmsandbox0", rules.interface, Effect.NEW_PODS)
    subnet_v4: str = setting("10.105.0.0/16", rules.subnet_v4, Effect.NEW_PODS)
    subnet_v6: str = setting("fd76:6d73:616e:64::/64", rules.subnet_v6, Effect.NEW_PODS)
    """A unique local range (RFC 4193); empty: the pods have IPv4 alone."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The pod network."""

    config_directory: Path = setting(Path("/etc/cni/net.d"), rules.absolute, Effect.NEW_PODS)
    plugin_directories: tuple[Path, ...] = setting(
        (Path("/opt/cni/bin"), Path("/usr/lib/cni")), rules.absolute, Effect.AT_ONCE
    )
    plugin_timeout: float = setting(60, rules.seconds, Effect.AT_ONCE)
    default: BridgeConfig = section(BridgeConfig)


@dataclass(frozen=True, slots=True)
class StreamingConfig:
    """The server of exec, attach and port-forward."""

    address: str = setting("127.0.0.1", rules.address, Effect.RESTART)
    port: int = setting(0, rules.between(0, 65535, "a port: a number"), Effect.RESTART)
    tls_certificate: Path | None = setting(None, rules.absolute, Effect.RESTART)
    tls_key: Path | None = setting(None, rules.absolute, Effect.RESTART)


class HostNamespace(enum.Enum):
    """A namespace of the host that a pod may ask for in place of its own: hostNetwork, hostPID, hostIPC."""

    NETWORK = "network"
    PID = "pid"
    IPC = "ipc"


@dataclass(frozen=True, slots=True)
class DelegateConfig:
    """Another CRI runtime of the node, and which pods are its; None: there is none."""

    socket: Path | None = setting(None, rules.socket_path, Effect.RESTART)
    handlers: tuple[str, ...] = setting((), rules.handler_or_none, Effect.RESTART)
    host_namespaces: tuple[HostNamespace, ...] = setting(tuple(HostNamespace), _CHOICE, Effect.RESTART)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """PEM files of a server: its certificate with the key, and whose clients it serves; None: no TLS, all clients."""

    certificate: Path | None = setting(None, rules.absolute, Effect.RESTART)
    key: Path | None = setting(None, rules.absolute, Effect.RESTART)
    client_ca: Path | None = setting(None, rules.absolute, Effect.RESTART)


@dataclass(frozen=True, slots=True)
class MetricsConfig:
    """The server of the daemon's metrics, for Prometheus."""

    address: str | None = setting(None, rules.listening, Effect.RESTART)
    """None: there is none, and nothing is recorded."""
    tls: TlsConfig = section(TlsConfig)


@dataclass(frozen=True, slots=True)
class TracesConfig:
    """Where the daemon sends the spans of its calls (OpenTelemetry, OTLP over gRPC)."""

    endpoint: str | None = setting(None, rules.endpoint, Effect.RESTART)
    """None: nowhere, and none are made."""
    ca: Path | None = setting(None, rules.absolute, Effect.RESTART)
    """The certificates (PEM) of the authority that has signed the collector's; None: the connection has no TLS."""
    sampling: float = setting(1, rules.between(0, 1, "a part of all calls: a number"), Effect.RESTART)
    """The part of those calls whose caller has not decided whether they are traced."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    state_directory: Path = setting(Path("/var/lib/vmsandbox"), rules.absolute, Effect.RESTART)
    run_directory: Path = setting(Path("/run/vmsandbox"), rules.absolute, Effect.RESTART)
    socket: Path = setting(Path("/run/vmsandbox/vmsandbox.sock"), rules.socket_path, Effect.RESTART)
    socket_group: str = setting("", rules.account_or_none, Effect.RESTART)
    log_level: str = setting("info", rules.one_of(*LOG_LEVELS), Effect.AT_ONCE)
    log_format: str = setting("text", rules.one_of(*LOG_FORMATS), Effect.AT_ONCE)
    libvirt: str = setting(AUTO, rules.libvirt_uri, Effect.RESTART)
    guest_image: Path = setting(Path("/var/cache/vmsandbox/guest-image/current"), rules.absolute, Effect.RESTART)
    vsock: VsockChoice = setting(VsockChoice.AUTO, _CHOICE, Effect.RESTART)
    vhost_device_vsock: Path = setting(
        Path("/var/cache/vmsandbox/bin/vhost-device-vsock"), rules.absolute, Effect.RESTART
    )
    virtiofsd: Path | None = setting(None, rules.absolute, Effect.RESTART)
    qemu_group: str = setting("kvm", rules.account, Effect.RESTART)
    users: UsersConfig = section(UsersConfig)
    cgroup_parent: str = setting("vmsandbox", rules.cgroup, Effect.RESTART)
    machine: MachineConfig = section(MachineConfig)
    handlers: dict[str, HandlerConfig] = field(default_factory=dict)
    limits: LimitsConfig = section(LimitsConfig)
    images: ImagesConfig = section(ImagesConfig)
    network: NetworkConfig = section(NetworkConfig)
    streaming: StreamingConfig = section(StreamingConfig)
    metrics: MetricsConfig = section(MetricsConfig)
    traces: TracesConfig = section(TracesConfig)
    delegate: DelegateConfig = section(DelegateConfig)

    @property
    def machine_handlers(self) -> tuple[str, ...]:
        """All handlers whose pods are machines; the empty one is that of pods without RuntimeClass."""
        return tuple(dict.fromkeys(("", MACHINE_HANDLER, *self.handlers)))

    def machine_of(self, handler: str) -> MachineConfig:
        """How machines of a handler are made, which is one of `machine_handlers`."""
        handled = self.handlers.get(handler, HandlerConfig())
        own = {setting.name: getattr(handled, setting.name) for setting in fields(handled)}
        return replace(self.machine, **{name: value for name, value in own.items() if value is not None})

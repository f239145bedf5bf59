"""The configuration: /etc/vmsandbox/config.yaml. `examples/config.yaml` shows every setting with its default.

The fields below are the keys of the file; what they mean is said there once, for people. A setting that is not in the
file has the default given here.
"""

import enum
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from vmsandbox.errors import FailedPrecondition, NotFound
from vmsandbox.fs.opening import MEBIBYTE, read_regular, reason
from vmsandbox.typed_yaml import Size, YamlNode, decode, read

MACHINE_HANDLER = "vmsandbox"
"""The RuntimeClass handler that there is without configuration: pods of it are machines, made as `machine` says."""

DEFAULT_FILE = Path("/etc/vmsandbox/config.yaml")

MOST_VCPUS = 240
"""vCPUs of a machine at most. With more, x86 needs an IOMMU with interrupt remapping; our domains have none."""
MOST_MEMORY = 1 << 52
"""Bytes that an x86 processor can address (52 bits of physical addresses)."""

_MIB = 1024 * 1024
_LARGEST_FILE = 1 << 44
"""Bytes of a file on ext4."""
_MOST_BOOTS = 1024
_MOST_IOPS = 1_000_000_000
"""The largest number of operations a second in QEMU's throttle groups."""


class AcceleratorChoice(enum.Enum):
    """How guests run: `auto` is what has been found to work by booting."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


class Mitigations(enum.Enum):
    """The measures of a guest's kernel against flaws of the CPU (the kernel's parameter of this name)."""

    AUTO = "auto"
    OFF = "off"


class VsockChoice(enum.Enum):
    """The way to the agents."""

    AUTO = "auto"
    KERNEL = "vsock"
    VHOST_DEVICE = "vhost-device-vsock"


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """How machines are made where the pod does not say."""

    vcpus: int = 1
    memory: Size = Size(256 * _MIB)
    overhead: Size = Size(128 * _MIB)
    scratch_size: Size = Size(10 * 1024 * _MIB)
    scratch_bandwidth: Size | None = None
    scratch_iops: int | None = None
    boot_deadline: float = 60
    accelerator: AcceleratorChoice = AcceleratorChoice.AUTO
    mitigations: Mitigations = Mitigations.AUTO
    kernel_parameters: str = ""


@dataclass(frozen=True, slots=True)
class HandlerConfig:
    """A RuntimeClass handler: what differs from `machine`; None is as there."""

    vcpus: int | None = None
    memory: Size | None = None
    overhead: Size | None = None
    scratch_size: Size | None = None
    scratch_bandwidth: Size | None = None
    scratch_iops: int | None = None
    boot_deadline: float | None = None
    accelerator: AcceleratorChoice | None = None
    mitigations: Mitigations | None = None
    kernel_parameters: str | None = None


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """Limits for all machines together."""

    memory: Size | None = None
    parallel_boots: int | None = None


@dataclass(frozen=True, slots=True)
class UsersConfig:
    """The user ids that machines' processes run with, two for each machine.

    The default lies in a range that systemd's UIDS-GIDS leaves unused, and beyond the usual /etc/subuid.
    """

    first: int = 1_900_000_000
    count: int = 200_000


@dataclass(frozen=True, slots=True)
class ImagesConfig:
    """Where images are kept and how they are pulled."""

    directory: Path | None = None
    """None: `images` in the state directory."""
    registries_conf: Path | None = None
    """containers-registries.conf(5): mirrors, insecure and blocked registries; None: the host's."""
    policy: Path | None = None
    """containers-policy.json(5): which images may be used; None: the host's, or any image where it has none."""
    authfile: Path | None = None
    """containers-auth.json(5): credentials where a pull brings none of its own, and for mirrors; None: none."""
    pull_timeout: float = 3600
    """Seconds one pull may take, all in all."""
    max_root_size: Size = Size(32 << 30)
    """Bytes that an image's files may have together, unpacked."""
    max_root_memory: Size = Size(1 << 30)
    """Bytes of memory that their names and attributes may take while the root image is made."""
    user: str = "vmsandbox-images"
    """The system user that programs run as which read images."""
    pinned: tuple[str, ...] = ()
    """Names of images that are told to be pinned: the kubelet does not remove those when it needs room."""


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """The network of pods on a host without CNI configuration."""

    bridge: str = "vmsandbox0"
    subnet_v4: str = "10.105.0.0/16"
    subnet_v6: str = "fd76:6d73:616e:64::/64"
    """A unique local range (RFC 4193); empty: the pods have IPv4 alone."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """The pod network."""

    config_directory: Path = Path("/etc/cni/net.d")
    plugin_directories: tuple[Path, ...] = (Path("/opt/cni/bin"), Path("/usr/lib/cni"))
    plugin_timeout: float = 60
    default: BridgeConfig = field(default_factory=BridgeConfig)


@dataclass(frozen=True, slots=True)
class StreamingConfig:
    """The server of exec, attach and port-forward."""

    address: str = "127.0.0.1"
    port: int = 0
    tls_certificate: Path | None = None
    tls_key: Path | None = None


class HostNamespace(enum.Enum):
    """A namespace of the host that a pod may ask for in place of its own: hostNetwork, hostPID, hostIPC."""

    NETWORK = "network"
    PID = "pid"
    IPC = "ipc"


@dataclass(frozen=True, slots=True)
class DelegateConfig:
    """Another CRI runtime of the node, and which pods are its; None: there is none."""

    socket: Path | None = None
    handlers: tuple[str, ...] = ()
    host_namespaces: tuple[HostNamespace, ...] = tuple(HostNamespace)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    state_directory: Path = Path("/var/lib/vmsandbox")
    run_directory: Path = Path("/run/vmsandbox")
    socket: Path = Path("/run/vmsandbox/vmsandbox.sock")
    socket_group: str = ""
    log_level: str = "info"
    libvirt: str = "qemu:///system"
    guest_image: Path = Path("/var/cache/vmsandbox/guest-image/current")
    vsock: VsockChoice = VsockChoice.AUTO
    vhost_device_vsock: Path = Path("/var/cache/vmsandbox/bin/vhost-device-vsock")
    virtiofsd: Path | None = None
    qemu_group: str = "kvm"
    users: UsersConfig = field(default_factory=UsersConfig)
    cgroup_parent: str = "vmsandbox"
    machine: MachineConfig = field(default_factory=MachineConfig)
    handlers: dict[str, HandlerConfig] = field(default_factory=dict)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    images: ImagesConfig = field(default_factory=ImagesConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    streaming: StreamingConfig = field(default_factory=StreamingConfig)
    delegate: DelegateConfig = field(default_factory=DelegateConfig)

    @property
    def machine_handlers(self) -> tuple[str, ...]:
        """All handlers whose pods are machines; the empty one is that of pods without RuntimeClass."""
        return tuple(dict.fromkeys(("", MACHINE_HANDLER, *self.handlers)))

    def machine_of(self, handler: str) -> MachineConfig:
        """How machines of a handler are made, which is one of `machine_handlers`."""
        own = asdict(self.handlers.get(handler, HandlerConfig()))
        return replace(self.machine, **{name: value for name, value in own.items() if value is not None})


def load(path: Path | None = None) -> Config:
    """The configuration in `path`, or in `DEFAULT_FILE`; where that does not exist, all defaults.

    Raises:
        NotFound: `path` was given and is not there.
        FailedPrecondition: it cannot be read.
        InvalidArgument: it is not valid; the error names line and field.
    """
    try:
        text = read_regular(path or DEFAULT_FILE, MEBIBYTE, follow=True).decode()
    except FileNotFoundError:
        if path is None:
            return Config()
        raise NotFound(f"there is no configuration file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FailedPrecondition(f"the configuration {path or DEFAULT_FILE} cannot be read: {reason(error)}") from None
    return parse(text, str(path or DEFAULT_FILE))


def parse(text: str, source: str) -> Config:
    """The configuration that a text says; `source` is its name in errors.

    Raises:
        InvalidArgument: as `load`.
    """
    documents = read(text, source)
    if not documents:
        return Config()
    if len(documents) > 1:
        raise documents[1].error("a configuration file is a single YAML document")
    config = decode(Config, documents[0])
    _check(config, documents[0])
    return config


def _check_machine(machine: MachineConfig, name: str, place: YamlNode) -> None:
    if not 1 <= machine.vcpus <= MOST_VCPUS:
        raise place.error(f"{name}: a machine has at least one vCPU, and at most {MOST_VCPUS}")
    if not 64 * _MIB <= machine.memory + machine.overhead <= MOST_MEMORY:
        raise place.error(f"{name}: memory and overhead are together at least 64Mi, and at most 4Pi")
    if not 16 * _MIB <= machine.scratch_size <= _LARGEST_FILE:
        raise place.error(f"{name}: scratch_size is at least 16Mi, and at most 16Ti")
    if machine.scratch_bandwidth is not None and machine.scratch_bandwidth < _MIB:
        raise place.error(f"{name}: scratch_bandwidth is at least 1Mi bytes a second")
    if machine.scratch_iops is not None and not 10 <= machine.scratch_iops <= _MOST_IOPS:
        raise place.error(f"{name}: scratch_iops is at least 10, and at most {_MOST_IOPS}")
    _check_seconds(machine.boot_deadline, f"{name}: boot_deadline", place)


def _check_seconds(seconds: float, name: str, place: YamlNode) -> None:
    if not 0 < seconds < math.inf:
        raise place.error(f"{name} must be a number of seconds above 0")


def _check(config: Config, place: YamlNode) -> None:
    for handler in config.machine_handlers:
        _check_machine(config.machine_of(handler), handler or "machine", place)
    _check_seconds(config.images.pull_timeout, "images: pull_timeout", place)
    _check_seconds(config.network.plugin_timeout, "network: plugin_timeout", place)
    if config.limits.parallel_boots is not None and not 1 <= config.limits.parallel_boots <= _MOST_BOOTS:
        raise place.error(f"limits: parallel_boots is at least 1, and at most {_MOST_BOOTS}")
    if config.cgroup_parent in (".", "..") or "/" in config.cgroup_parent:
        raise place.error("cgroup_parent must be the name of a cgroup at the top of the hierarchy, without slashes")
    if config.users.first < 1 or config.users.count < 2 or config.users.first + config.users.count > 1 << 31:
        raise place.error("users: the range has at least 2 numbers, from 1 to 2147483647")
    if (config.streaming.tls_certificate is None) != (config.streaming.tls_key is None):
        raise place.error("streaming: tls_certificate and tls_key go together")
    if config.delegate.handlers and config.delegate.socket is None:
        raise place.error("delegate: handlers need delegate.socket, the socket of the other runtime")
    for handler in {MACHINE_HANDLER, *config.handlers}.intersection(config.delegate.handlers):
        raise place.error(f"delegate: pods of the handler {handler} are machines")
    if config.log_level not in ("debug", "info", "warning", "error"):
        raise place.error("log_level is one of: debug, info, warning, error")

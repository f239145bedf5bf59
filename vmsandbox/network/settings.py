"""The input of the network: settings, and the pod's identity."""

from dataclasses import dataclass, field
from pathlib import Path

INTERFACE = "eth0"
"""The name of the pod's interface, in its namespace and in the guest (CNI_IFNAME), as in every runtime."""


@dataclass(frozen=True, slots=True)
class BridgeSettings:
    """The network that pods get on a host without a CNI configuration of its own."""

    name: str = "vmsandbox"
    bridge: str = "vmsandbox0"
    subnet_v4: str = "10.105.0.0/16"
    subnet_v6: str = "fd76:6d73:616e:64::/64"
    """A unique local range (RFC 4193); empty: the pods have IPv4 alone."""


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Where CNI's files are, and how long a plugin may take."""

    state_directory: Path
    """Owned by this package: what each pod was attached with, and the leases of the built-in network."""
    config_directory: Path = Path("/etc/cni/net.d")
    plugin_directories: tuple[Path, ...] = (Path("/opt/cni/bin"), Path("/usr/lib/cni"))
    """Searched in this order."""
    plugin_timeout: float = 60
    """Seconds that one call of one plugin may take."""
    bridge: BridgeSettings = field(default_factory=BridgeSettings)
    tap_in_pod: bool = False
    """Make a pod's tap in its namespace, where QEMU is started; else in the host's, and `connect_tap` moves it."""


@dataclass(frozen=True, slots=True)
class PodIdentity:
    """The pod whose network it is; plugins read the last three from CNI_ARGS."""

    sandbox_id: str
    namespace: str
    name: str
    uid: str

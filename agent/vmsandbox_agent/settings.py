"""Where the agent keeps things and what it allows: one place, so that tests can run it on a host."""

from dataclasses import dataclass, field
from pathlib import Path

from vmsandbox.protocol import paths

OUTPUT_BUFFER = 256 * 1024
"""Bytes kept of an output stream that the host has not acknowledged; then its writer blocks."""

MAX_REQUESTS = 64
"""Requests that a controller may have running at once."""

MAX_STRANGERS = 16
"""Connections on a port that have not yet said who they are."""

HELLO_FRAME = 16 * 1024
"""Bytes of a frame of theirs."""

MAX_STREAMS = 256
"""Streams open, and tokens given out for them."""

MAX_EXECS = 64
"""Execs running, or ended with output that the host has not taken."""

MAX_EVENTS = 1024
"""Events not acknowledged; no new process is started beyond it."""

MAX_DEADLINE = 3600.0
"""Seconds that a request may take at most."""

HELLO_TIMEOUT = 10.0
"""Seconds for the first frame of a connection."""

TOKEN_LIFETIME = 30.0
"""Seconds in which a stream's token has to be presented."""

DRAIN_GRACE = 1.0
"""Seconds for which a container's process, or a command that was killed, may leave its output with its children."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Paths and programs; the defaults are those of the guest."""

    state: Path = Path(paths.STATE)
    cgroups: Path = Path("/sys/fs/cgroup")
    crun: tuple[str, ...] = ("crun", "--cgroup-manager=cgroupfs")
    holder: tuple[str, ...] = ("busybox", "sleep", "infinity")
    """A small program that never ends, to hold the pod's namespaces."""
    shell: tuple[str, ...] = ("busybox", "sh")
    """The shell of a person who looks into the guest; it has the other commands of busybox built in."""
    devices: Path = Path("/dev")
    processors: Path = Path("/sys/devices/system/cpu")
    build: str = ""
    emulated: bool = False
    """Whether the machine's CPU is QEMU's emulator."""
    secret: bytes = field(default=b"", repr=False)
    """The machine's, which a controller has to know; empty: its host gave none."""

    @property
    def pod_cgroup(self) -> Path:
        """The cgroup above those of all containers; the host's specs name cgroups below it."""
        return self.cgroups / paths.POD_CGROUP.strip("/")

    @property
    def images(self) -> Path:
        """Mount points of the attached images."""
        return self.state / "images"

    @property
    def tmpfs(self) -> Path:
        """Mount points of the volumes in memory."""
        return self.state / "tmpfs"

    @property
    def share(self) -> Path:
        """Mount point of the share, which holds the volumes of the host."""
        return self.state / "share"

    @property
    def sources(self) -> Path:
        """The directory for mounts of a container that is being made."""
        return self.state / "sources"

    @property
    def scratch(self) -> Path:
        """The file system of the writable layers."""
        return self.state / "scratch"

    @property
    def containers(self) -> Path:
        """The bundles."""
        return self.state / "containers"


def build_id() -> str:
    """Return the build id of the guest image; empty if the agent does not run from one."""
    try:
        return Path(paths.BUILD_ID).read_text(encoding="ascii").strip()
    except OSError:
        return ""

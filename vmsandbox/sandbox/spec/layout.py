"""Where a sandbox keeps its files on the host (docs/on-disk.md): names alone, no file is touched here."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SandboxLayout:
    """The two directories of one sandbox.

    `runtime` (tmpfs on most hosts) holds sockets and the share; `persistent` the scratch disk and log positions. The
    sandbox's users pass through both to what is theirs; nobody but root enters the share on the host.
    """

    runtime: Path
    persistent: Path

    @property
    def share(self) -> Path:
        """The directory below which the places of volumes are made: empty directories and files."""
        return self.runtime / "share"

    @property
    def served(self) -> Path:
        """The same directory as virtiofsd serves it: a read-only mount, below which volumes are mounted."""
        return self.runtime / "served"

    @property
    def uses(self) -> Path:
        """Which containers use which place: see `files.share_uses`."""
        return self.runtime / "uses"

    @property
    def console(self) -> Path:
        """Unix socket of the guest's console."""
        return self.runtime / "console.sock"

    @property
    def secret(self) -> Path:
        """Unix socket on which the guest is given its machine's secret."""
        return self.runtime / "secret.sock"

    @property
    def vsock(self) -> Path:
        """The directory of the vsock daemon, where there is one."""
        return self.runtime / "vsock"

    @property
    def devices(self) -> Path:
        """The directory of the nodes of raw block volumes: see `blocks.nodes`."""
        return self.runtime / "devices"

    @property
    def scratch(self) -> Path:
        """The disk image of the writable layers."""
        return self.persistent / "scratch.img"

    def position(self, container_id: str) -> Path:
        """Return the file with the position of a container's log; see `streams.logs`."""
        return self.persistent / f"{container_id}.position"

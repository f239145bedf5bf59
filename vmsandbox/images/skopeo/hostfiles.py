"""The administrator's settings of registries, copied for skopeo, because only root may read some of them.

That is registries.conf (containers-registries.conf(5)), policy.json (containers-policy.json(5)), and the certificates
and keys of registries (containers-certs.d(5)). skopeo looks for the latter below its HOME first. It gets those of the
registry that it is to ask and of those that the configuration names (mirrors), and no other registry's keys.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vmsandbox import fs
from vmsandbox.config import ImagesConfig
from vmsandbox.errors import FailedPrecondition
from vmsandbox.fs.opening import read_regular, reason
from vmsandbox.images.oci import MAX_DOCUMENT
from vmsandbox.images.skopeo.workspace import Workspace

_CERTIFICATES = (".crt", ".cert", ".key")
_MOST = 256
"""Registries that have certificates, and files of each."""


@dataclass(frozen=True, slots=True)
class HostFiles:
    """The administrator's files, where they are."""

    registries: Path | None
    policy: Path | None
    """None: the host has none, and any image may be used."""
    drop_ins: Path
    """More of the registries configuration, which skopeo reads itself: everybody has to be able to."""
    certificates: tuple[Path, ...]
    """Directories with one directory for each registry; for a registry that is in several, the first counts."""

    @classmethod
    def of(cls, settings: ImagesConfig, etc: Path = Path("/etc")) -> "HostFiles":
        """Find the files: those of the settings, and the host's where these name none."""
        containers = etc / "containers"
        return cls(
            settings.registries_conf or _existing(containers / "registries.conf"),
            settings.policy or _existing(containers / "policy.json"),
            containers / "registries.conf.d",
            (containers / "certs.d", etc / "docker/certs.d"),
        )

    def copies(self, directory: Path) -> dict[Path, Path]:
        """Return where `copy` puts the files, by where they come from."""
        named = {self.registries: "registries.conf", self.policy: "policy.json"}
        return {source: directory / name for source, name in named.items() if source}

    def copy(self, workspace: Workspace, registry: str) -> None:
        """Copy what a pull from a registry (host and port) may need into a workspace in which nothing has run yet.

        Blocks: a file may be where the administrator wants it, e.g. on a network's file system.

        Raises:
            FailedPrecondition: a file cannot be read.
        """
        for source, copy in self.copies(workspace.directory).items():
            workspace.write(copy, _content(source))
        known = self._configuration()
        for name, directory in self._registries().items():
            if name == registry or name in known:
                _copy_certificates(directory, workspace, workspace.home / ".config/containers/certs.d" / name)

    def _configuration(self) -> str:
        """The text of the registries configuration, of all its files."""
        files = [*([self.registries] if self.registries else []), *sorted(self.drop_ins.glob("*.conf"))]
        return "\n".join(_content(path).decode(errors="replace") for path in files)

    def _registries(self) -> dict[str, Path]:
        found: dict[str, Path] = {}
        for path in (path for place in self.certificates for path in _entries(place) if path.is_dir()):
            found.setdefault(path.name, path)
        return found


def _copy_certificates(source: Path, workspace: Workspace, target: Path) -> None:
    fs.make_missing(target, 0o755)  # below skopeo's HOME, which is closed
    for path in _entries(source):
        if path.suffix in _CERTIFICATES:
            workspace.write(target / path.name, _content(path))


def _entries(directory: Path) -> Iterator[Path]:
    return islice(directory.iterdir(), _MOST) if directory.is_dir() else iter(())


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None


def _content(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_DOCUMENT, follow=True)
    except OSError as error:
        raise FailedPrecondition(
            f"{path}, which says how registries are used, cannot be read: {reason(error)}",
            hint="see containers-registries.conf(5), containers-policy.json(5) and containers-certs.d(5)",
        ) from None

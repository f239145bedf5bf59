"""Running skopeo: the one place that knows its command line."""

import os
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import process
from vmsandbox.errors import Internal
from vmsandbox.images.diagnosis import diagnose
from vmsandbox.images.reference import Reference
from vmsandbox.images.settings import ImageSettings
from vmsandbox.process import Confinement, Limits

_POLICY = Path("/etc/containers/policy.json")
_INHERITED = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

_OWN_FILES = 16 << 20
"""Bytes that any other file which skopeo writes may have: manifests, configurations, its notes of where blobs are."""

_LARGEST_FILE = 1 << 40
"""Bytes of a file that is unpacked of an archive, where nothing says how large it may be."""
_MEMORY = 2 << 30
"""Bytes; skopeo streams what it copies, and takes tens of megabytes."""


@dataclass(frozen=True, slots=True)
class Skopeo:
    """skopeo, as one pull or load uses it.

    Args:
        settings: registries, policy, deadline.
        directory: of this one use, on the store's file system; the caller removes it.
        authfile: the credentials it may use, and no others.
        secrets: strings that no error may show.
    """

    settings: ImageSettings
    directory: Path
    authfile: Path
    secrets: tuple[str, ...] = ()

    async def manifest(self, reference: Reference) -> bytes:
        """The manifest or index that a registry has under a name, byte for byte.

        Raises:
            VmsandboxError: what `diagnosis` makes of the failure.
        """
        return await self._registry(reference, "inspect", "--raw")

    async def config(self, reference: Reference) -> bytes:
        """The configuration of the image that a registry has under a digest, byte for byte."""
        return await self._registry(reference, "inspect", "--config", "--raw")

    async def copy_blobs(self, reference: Reference, blobs: Path, largest: int) -> None:
        """Fetch the layers that `blobs` lacks; each appears there whole, checked against its digest.

        A registry that sends more than `largest` bytes of one is not listened to any longer.

        skopeo writes an OCI layout whose blobs are shared. It turns docker's manifest and configuration into
        OCI ones, of other digests; those are of no use, and the next collection takes them.
        """
        await self._run(
            "copy", "--quiet", "--remove-signatures", "--dest-oci-accept-uncompressed-layers",
            f"--dest-shared-blob-dir={blobs}", f"--src-authfile={self.authfile}",
            f"docker://{reference}", f"oci:{self.layout}",
            largest=max(largest, _OWN_FILES),
        )  # fmt: skip

    @property
    def layout(self) -> Path:
        """Where `copy_blobs` keeps the layers that are still on their way, as files `oci-put-blob*`."""
        return self.directory / "layout"

    async def unpack_docker_archive(self, archive: Path, index: int, destination: Path) -> None:
        """Make a directory of an image's manifest.json and blobs (each named by its digest) of a docker archive."""
        link = self.directory / "archive"  # skopeo splits names at colons, and the archive's own may have some
        if not link.is_symlink():
            link.symlink_to(archive)
        await self._run("copy", "--quiet", f"docker-archive:{link}:@{index}", f"dir:{destination}")

    async def _registry(self, reference: Reference, *command: str) -> bytes:
        return await self._run(*command, f"--authfile={self.authfile}", f"docker://{reference}")

    async def _run(self, *command: str, largest: int = _LARGEST_FILE) -> bytes:
        try:
            done = await process.run(
                ["skopeo", *self._globals(), *command],
                timeout=self.settings.pull_timeout,
                env=self._environment(),
                confinement=_confinement(largest),
            )
        except Internal as error:
            raise diagnose(error.evidence.get("stderr", ""), self.secrets) from None
        return done.stdout

    def _globals(self) -> list[str]:
        registries = self.settings.registries_conf
        return [
            *([f"--registries-conf={registries}"] if registries else []),
            *self._policy(),
            f"--tmpdir={self.directory}",
        ]

    def _policy(self) -> list[str]:
        if self.settings.policy:
            return [f"--policy={self.settings.policy}"]
        return [] if _POLICY.exists() else ["--insecure-policy"]

    def _environment(self) -> dict[str, str]:
        """Nothing of root's own logins: HOME and XDG_RUNTIME_DIR, where skopeo would look, are this directory."""
        names = [name for known in _INHERITED for name in (known, known.lower())]
        inherited = {name: os.environ[name] for name in names if name in os.environ}
        own = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR"), self.directory)
        return inherited | {name: str(path) for name, path in own.items()}


def _confinement(largest: int) -> Confinement:
    """Without root's power over others' files, but root, since it reads what only root may.

    Those are the keys of containers-certs.d(5) and archives that a user loads, and it writes into the store.
    """
    return Confinement(
        capabilities=("dac_read_search",),
        namespaces=(),
        limits=Limits(memory=_MEMORY, file_size=largest, open_files=4096),
        dies_with_parent=True,  # whose locks are gone then: skopeo must not go on writing
    )

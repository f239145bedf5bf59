"""Running skopeo: the one place that knows its command line.

skopeo parses what registries and archives send. It runs as a user of its own, without capabilities, in directories of
its own (`workspace`); what it has made is checked against digests, and taken over, by its callers.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import process
from vmsandbox.config import ImagesConfig
from vmsandbox.errors import Internal
from vmsandbox.images.oci import Reference
from vmsandbox.images.skopeo.credentials import authfile
from vmsandbox.images.skopeo.diagnosis import diagnose
from vmsandbox.images.skopeo.hostfiles import HostFiles
from vmsandbox.images.skopeo.workspace import Workspace
from vmsandbox.model import RegistryAuth
from vmsandbox.process import Account, Confinement, Limits

_INHERITED = ("PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")

_OWN_FILES = 16 << 20
"""Bytes that any other file which skopeo writes may have: manifests, configurations, its notes of where blobs are."""

_LARGEST_FILE = 1 << 40
"""Bytes of a file that is unpacked of an archive, where nothing says how large it may be."""
_MEMORY = 2 << 30
"""Bytes; skopeo streams what it copies, and takes tens of megabytes."""
_PROCESSES = 4096
"""Threads of the user in all, builders of root images included."""


@dataclass(frozen=True, slots=True)
class Skopeo:
    """skopeo, as one pull or load uses it.

    Args:
        settings: registries, policy, deadline.
        directory: of this one use, on the store's file system, which everybody can pass; the caller removes it.
        secrets: strings that no error may show.
    """

    settings: ImagesConfig
    directory: Path
    secrets: tuple[str, ...] = ()

    @property
    def workspace(self) -> Workspace:
        """The directories in which it works.

        Raises:
            FailedPrecondition: the host does not have its user.
        """
        return Workspace(self.directory, Account.named(self.settings.user))

    @property
    def _authfile(self) -> Path:
        return self.directory / "auth.json"

    def prepare(self, registry: str = "", auth: RegistryAuth | None = None) -> None:
        """Make its directories, and give it what it may read. Blocks. The first thing to call.

        Args:
            registry: that it is to ask, host and port; empty: none.
            auth: credentials for that registry; it has no others but those of `settings.authfile`.

        Raises:
            FailedPrecondition: a file of the administrator's cannot be read; the host does not have skopeo's user.
            InvalidArgument: the credentials are malformed.
            Unimplemented: they are a registry token only.
        """
        work = self.workspace
        work.make()
        if registry:
            work.write(self._authfile, authfile(registry, auth, self.settings.authfile))
        HostFiles.of(self.settings).copy(work, registry)

    async def manifest(self, reference: Reference) -> bytes:
        """The manifest or index that a registry has under a name, byte for byte.

        Raises:
            VmsandboxError: what `diagnosis` makes of the failure.
        """
        return await self._registry(reference, "inspect", "--raw")

    async def config(self, reference: Reference) -> bytes:
        """The configuration of the image that a registry has under a digest, byte for byte."""
        return await self._registry(reference, "inspect", "--config", "--raw")

    async def copy_blobs(self, reference: Reference, largest: int) -> None:
        """Fetch the layers that the workspace's blobs lack; each appears there whole.

        A registry that sends more than `largest` bytes of one is not listened to any longer.

        skopeo writes an OCI layout whose blobs are shared. It turns docker's manifest and configuration into
        OCI ones, of other digests; those are of no use, and go with the workspace.
        """
        work = self.workspace
        await self._run(
            "copy", "--quiet", "--remove-signatures", "--dest-oci-accept-uncompressed-layers",
            f"--dest-shared-blob-dir={work.blobs.directory}", f"--src-authfile={self._authfile}",
            f"docker://{reference}", f"oci:{work.layout}",
            largest=max(largest, _OWN_FILES),
        )  # fmt: skip

    async def unpack_docker_archive(self, archive: Path, index: int) -> Path:
        """Make a directory of an image's manifest.json and blobs (each named by its digest) of a docker archive.

        Args:
            archive: a copy in the workspace.
            index: of the image in the archive.
        """
        destination = await asyncio.to_thread(self.workspace.make_directory, f"docker-{index}")
        await self._run("copy", "--quiet", f"docker-archive:{archive}:@{index}", f"dir:{destination}", network=False)
        return destination

    async def _registry(self, reference: Reference, *command: str) -> bytes:
        return await self._run(*command, f"--authfile={self._authfile}", f"docker://{reference}")

    async def _run(self, *command: str, largest: int = _LARGEST_FILE, network: bool = True) -> bytes:
        work = self.workspace
        try:
            done = await process.run(
                ["skopeo", *self._globals(), *command],
                timeout=self.settings.pull_timeout,
                env=_environment(work.home),
                confinement=_confinement(work.account, largest, network),
            )
        except Internal as error:
            if "stderr" not in error.evidence:  # it was not skopeo that ended
                raise
            raise diagnose(self._with_real_names(error.evidence["stderr"]), self.secrets) from None
        return done.stdout

    def _globals(self) -> list[str]:
        files = HostFiles.of(self.settings)
        copies = files.copies(self.directory)
        return [
            *([f"--registries-conf={copies[files.registries]}"] if files.registries else []),
            f"--policy={copies[files.policy]}" if files.policy else "--insecure-policy",
            f"--tmpdir={self.workspace.home}",
        ]

    def _with_real_names(self, stderr: str) -> str:
        """Replace the names of copies in skopeo's messages by the names of the files that were copied."""
        for source, copy in HostFiles.of(self.settings).copies(self.directory).items():
            stderr = stderr.replace(str(copy), str(source))
        return stderr


def _environment(home: Path) -> dict[str, str]:
    """Nothing of root's own logins: all places where skopeo would look are its own."""
    names = [name for known in _INHERITED for name in (known, known.lower())]
    inherited = {name: os.environ[name] for name in names if name in os.environ}
    own = dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "TMPDIR"), str(home))
    return inherited | own


def _confinement(account: Account, largest: int, network: bool) -> Confinement:
    """All that it starts ends with it, so that nothing can write to what it has made."""
    return Confinement(
        account,
        namespaces=(*(() if network else ("net",)), "ipc", "uts", "pid"),
        limits=Limits(memory=_MEMORY, file_size=largest, open_files=4096, processes=_PROCESSES),
        dies_with_parent=True,  # whose locks are gone then
        profile="vmsandbox-skopeo",
    )

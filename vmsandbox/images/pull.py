"""Pulling one image from a registry."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from vmsandbox import aio
from vmsandbox.fs.locks import locked_async
from vmsandbox.images.fetching import LayerFetch
from vmsandbox.images.oci import (
    Descriptor,
    Malformed,
    Platform,
    Reference,
    check_digest,
    choose_manifest,
    digest_of,
    is_index,
    parse_index,
    parse_manifest,
)
from vmsandbox.images.skopeo import Skopeo
from vmsandbox.images.store import (
    Blobs,
    Candidate,
    ImageRecord,
    PullPhase,
    PullProgress,
    Report,
    StoreLayout,
    check_layers_fit,
)

_NESTED = 3
"""Indexes within indexes that are followed."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """The image that a name stands for in its registry."""

    digest: str
    """The digest that the registry has under the name: that of the index, if it is an index."""
    manifest: Reference
    """The manifest for our platform, by digest."""
    raw: bytes


async def resolve(skopeo: Skopeo, name: Reference, platform: Platform, held: Blobs) -> Resolved:
    """Ask the registry what it has under a name.

    A manifest that an index names by its digest is read from the store where `held` has it: that is one run of skopeo
    less for an image that is there.

    Raises:
        NotFound: it has nothing, or nothing for this platform.
        VmsandboxError: it cannot be asked, or what it says is malformed.
    """
    raw = await skopeo.manifest(name)
    top = digest = digest_of(raw)
    if name.digest:
        check_digest(raw, name.digest, f"the manifest of {name}")
    for _ in range(_NESTED):
        if not is_index(raw):
            return Resolved(top, name.with_digest(digest), raw)
        chosen = choose_manifest(parse_index(raw), platform, str(name))
        digest = chosen.digest
        raw = held.read(digest) if held.holds(chosen) else await _manifest(skopeo, name, digest)
    raise Malformed(f"{name} is an index of indexes, more than {_NESTED} deep")


async def _manifest(skopeo: Skopeo, name: Reference, digest: str) -> bytes:
    return check_digest(await skopeo.manifest(name.with_digest(digest)), digest, f"a manifest of {name}")


@dataclass(frozen=True, slots=True)
class Pull:
    """One pull; `staging` is its own directory, which the caller removes afterwards."""

    layout: StoreLayout
    skopeo: Skopeo
    staging: Path
    report: Report

    async def run(self, name: Reference) -> ImageRecord:
        """Pull the image of this name into the store.

        The registry is asked by each pull, with its own credentials. Of pulls of one manifest the first fetches
        it, while the others wait, and then find it held.

        Raises:
            VmsandboxError: the store is as before, except for layers that were fetched completely.
        """
        self.report(PullProgress(PullPhase.RESOLVING))
        resolved = await resolve(self.skopeo, name, Platform.of_host(), self.layout.blobs)
        self.report(PullProgress(PullPhase.WAITING))
        async with locked_async(self.layout.locks / resolved.manifest.digest.removeprefix("sha256:")):
            return await self._fetch(resolved, name)

    async def _fetch(self, resolved: Resolved, name: Reference) -> ImageRecord:
        """Fetch the configuration and the layers at the same time, and merge each layer that has come.

        A configuration or a layer that is refused ends the fetching.
        """
        manifest = parse_manifest(resolved.raw)
        check_layers_fit(manifest, self.layout.settings.max_root_size)
        fetch = LayerFetch(self.layout.blobs, self.skopeo, self.staging, manifest.layers, self.report)
        async with aio.background(fetch.run(resolved.manifest)) as fetching:
            candidate = await self._candidate(resolved, manifest.config)
            admitted = self.layout.admit(candidate, name, resolved.digest, self.staging, fetch.arrived)
            record, _ = await aio.together(admitted, self._fetched(fetching))
        assert record is not None
        return record

    async def _fetched(self, fetching: "asyncio.Task[None]") -> None:
        """Wait for the fetching, whose error ends what goes on beside it."""
        await fetching
        self.report(PullProgress(PullPhase.BUILDING))

    async def _candidate(self, resolved: Resolved, config: Descriptor) -> Candidate:
        if self.layout.blobs.holds(config):
            raw = self.layout.blobs.read(config.digest)
        else:
            raw = await self.skopeo.config(resolved.manifest)
        return Candidate.read(resolved.raw, raw, Platform.of_host(), self.layout.settings.max_root_size)

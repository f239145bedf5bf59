"""An image of 150 MB, in a registry of the run's own, for pulls and for reads of a layer."""

import functools
import gzip
import itertools
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.performance.bench.runtimes import Runtimes
from tests.standins.images import BUSYBOX
from tests.support.images import BuiltImage, build_image, tar_of
from tests.support.registry import Registry

BIG = 16
"""MiB of a large file."""
BIG_FILES = 5
SMALL_FILES = 500
_LAYER = 32 << 20
"""Bytes of each of the two layers of programs."""
_LARGEST = 4 << 20


def large_image(both: Runtimes) -> str:
    """Return the name of the image; its registry has it from the first call on."""
    return both.registry.push("large", _image(_base_layer(both.ours.registry)))


@functools.cache
def _image(base: bytes) -> BuiltImage:
    """Have files of this host, which compress like those of other images: programs, libraries, texts."""
    found = _host_files()
    layers = [base, *(tar_of(dict(_some(found, _LAYER))) for _ in range(2)), tar_of(dict(_files_to_read(found)))]
    return build_image(layers, run={"Cmd": ["sh"]})


def _files_to_read(found: Iterator[Path]) -> Iterator[tuple[str, bytes]]:
    for number in range(BIG_FILES):
        yield f"bench/big-{number}", b"".join(data for _, data in _some(found, BIG << 20))[: BIG << 20]
        yield from ((f"bench/small-{number}/{name}", b"line\n") for name in range(SMALL_FILES))


def _some(found: Iterator[Path], size: int) -> Iterator[tuple[str, bytes]]:
    """Files of `size` bytes in all, or a little more."""
    while size > 0:
        path = next(found)
        data = path.read_bytes()
        size -= len(data)
        yield f"bench{path}", data


def _host_files() -> Iterator[Path]:
    for path in itertools.chain(*(sorted(Path("/usr", part).rglob("*")) for part in ("bin", "lib", "share"))):
        if path.is_file() and not path.is_symlink() and 0 < path.stat().st_size < _LARGEST:
            yield path


@functools.cache
def _base_layer(registry: Registry) -> bytes:
    """The layer of the stand-in for busybox, unpacked."""
    host, _, rest = BUSYBOX.partition("/")
    repository, _, tag = rest.partition(":")
    manifest = json.loads(_get(registry, f"{host}/{repository}/manifests/{tag}"))
    (layer,) = manifest["layers"]
    return gzip.decompress(_get(registry, f"{host}/{repository}/blobs/{layer['digest']}"))


def _get(registry: Registry, path: str) -> bytes:
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    with urllib.request.urlopen(urllib.request.Request(f"http://{registry.address}/v2/{path}", headers=accept)) as got:
        return bytes(got.read())

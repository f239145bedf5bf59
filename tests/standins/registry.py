"""The registry that serves the stand-in images, and the configuration that leads their public names to it.

Built once and kept under /var/cache/vmsandbox/test-images, by a key of what it is made from; package versions are no
part of that key.
"""

import contextlib
import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.standins import workshop
from tests.standins.images import REGISTRIES, STAND_INS, StandIn
from tests.standins.layers import LAYERS, pack
from tests.support.images import BuiltImage, build_image
from tests.support.registry import Registry, running_registry

CACHE = Path("/var/cache/vmsandbox/test-images")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@contextlib.contextmanager
def running_stand_ins(directory: Path) -> Iterator[Registry]:
    """Serve the stand-in images on a loopback port, from a directory for logs; they are built where missing."""
    (directory / "data").symlink_to(ensure_built())
    with running_registry(directory) as registry:
        yield registry


def registries_conf(registry: Registry) -> str:
    """containers-registries.conf(5) that sends the public names to the registry, and never past it.

    The names are moved rather than mirrored: a mirror that lacks an image would have the public registry asked.
    """
    return "".join(
        f'[[registry]]\nprefix = "{name}"\nlocation = "{registry.address}/{name}"\ninsecure = true\n\n'
        for name in REGISTRIES
    )


def ensure_built() -> Path:
    """The registry's storage with every stand-in in it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    storage = CACHE / _key()
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not storage.is_dir():
            _build(storage)
    return storage


def _key() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".c"):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _build(storage: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="new-", dir=CACHE) as work, workshop.open_workshop() as opened:
        layers = {name: _layer(name, opened, Path(work) / "layers" / name) for name in LAYERS}
        with running_registry(Path(work)) as registry:
            for stand_in in STAND_INS:
                image = _image(stand_in, layers)
                for name in stand_in.names:
                    registry.push(name, image)
        shutil.move(Path(work) / "data", storage)


def _layer(name: str, opened: workshop.Workshop, tree: Path) -> bytes:
    tree.mkdir(parents=True)
    LAYERS[name](opened, tree)
    return pack(tree)


def _image(stand_in: StandIn, layers: dict[str, bytes]) -> BuiltImage:
    parts: list[bytes | dict[str, bytes]] = [layers[name] for name in stand_in.layers]
    if stand_in.marker:
        parts.append({stand_in.marker: b""})
    run: dict[str, object] = {"Cmd": list(stand_in.command), "Env": [_PATH]}
    if stand_in.user:
        run["User"] = stand_in.user
    if stand_in.volumes:
        run["Volumes"] = {volume: {} for volume in stand_in.volumes}
    return build_image(parts, run=run, compression=stand_in.compression)

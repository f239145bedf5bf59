"""The registry that serves the stand-in images, and the configuration that leads their public names to it.

Built once and kept under /var/cache/vmsandbox/test-images, by a key of what it is made from; package versions are
not part of that key.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from tests.standins import engines, workshop
from tests.standins.images import REGISTRIES, STAND_INS, WITH_DOCKER, StandIn
from tests.standins.layers import LAYERS, Recipe, pack
from tests.support.images import BuiltImage, build_image
from tests.support.registry import Registry, running_registry

CACHE = Path("/var/cache/vmsandbox/test-images")
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@contextlib.contextmanager
def running_stand_ins(directory: Path, *, with_docker: bool = False) -> Iterator[Registry]:
    """Serve the stand-in images on a loopback port, from a directory for logs; they are built where missing."""
    (directory / "data").symlink_to(ensure_docker() if with_docker else ensure_built())
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
    """The registry's storage with every stand-in in it but docker's."""
    return _ensure(_key(), _build)


def ensure_docker() -> Path:
    """The same, with docker's."""
    base = ensure_built()
    return _ensure(f"{_key()}-docker", lambda storage: _add_docker(base, storage))


def _ensure(name: str, build: Callable[[Path], None]) -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    storage = CACHE / name
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not storage.is_dir():
            build(storage)
    return storage


def _key() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.suffix in (".py", ".c"):
            digest.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _build(storage: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="new-", dir=CACHE) as work, workshop.open_workshop() as opened:
        layers = {name: _layer(recipe, opened, Path(work) / "layers" / name) for name, recipe in LAYERS.items()}
        _push(Path(work), STAND_INS, layers)
        shutil.move(Path(work) / "data", storage)


def _add_docker(base: Path, storage: Path) -> None:
    recipes = {"busybox": LAYERS["busybox"], "docker": engines.docker}
    with (
        tempfile.TemporaryDirectory(prefix="new-", dir=CACHE) as work,
        workshop.open_workshop(engines.DOCKER_PACKAGES) as opened,
    ):
        layers = {name: _layer(recipe, opened, Path(work) / "layers" / name) for name, recipe in recipes.items()}
        shutil.copytree(base, Path(work) / "data", copy_function=os.link)
        _push(Path(work), (WITH_DOCKER,), layers)
        shutil.move(Path(work) / "data", storage)


def _push(directory: Path, stand_ins: Iterable[StandIn], layers: Mapping[str, bytes]) -> None:
    with running_registry(directory) as registry:
        for stand_in in stand_ins:
            image = _image(stand_in, layers)
            for name in stand_in.names:
                registry.push(name, image)


def _layer(recipe: Recipe, opened: workshop.Workshop, tree: Path) -> bytes:
    tree.mkdir(parents=True)
    recipe(opened, tree)
    return pack(tree)


def _image(stand_in: StandIn, layers: Mapping[str, bytes]) -> BuiltImage:
    parts: list[bytes | dict[str, bytes]] = [layers[name] for name in stand_in.layers]
    if stand_in.marker:
        parts.append({stand_in.marker: b""})
    run: dict[str, object] = {"Cmd": list(stand_in.command), "Env": [_PATH]}
    if stand_in.user:
        run["User"] = stand_in.user
    if stand_in.volumes:
        run["Volumes"] = {volume: {} for volume in stand_in.volumes}
    return build_image(parts, run=run, compression=stand_in.compression)

"""The store on disk: removal, holds, archives, kills and full disks, with a real registry behind it."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.images import BuiltImage, archive_of, build_image, build_index, compress, tar_of, write_layout
from tests.support.passable import passable_directory
from tests.support.registry import Registry
from tests.support.stalling import StallingProxy, stalling
from vmsandbox.config import ImagesConfig
from vmsandbox.errors import DeadlineExceeded, Internal, InvalidArgument, NotFound, ResourceExhausted, VmsandboxError
from vmsandbox.images.image_store import ImageStore
from vmsandbox.images.store.progress import PullPhase, PullProgress

BIG = 3_000_000


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In place of pytest's, which is closed: skopeo's user has to pass through it."""
    with passable_directory() as path:
        yield path


def insecure(tmp_path: Path, *addresses: str) -> ImagesConfig:
    path = tmp_path / "registries.conf"
    path.write_text("".join(f'[[registry]]\nlocation = "{each}"\ninsecure = true\n' for each in addresses))
    return ImagesConfig(registries_conf=path)


@pytest.fixture
async def store(tmp_path: Path, registry: Registry) -> ImageStore:
    return await ImageStore.open(tmp_path / "store", insecure(tmp_path, registry.address))


def content(store: ImageStore) -> set[str]:
    """The files of a store, without its locks."""
    return {p.name for p in store.directory.rglob("*") if p.is_file() and p.suffix != ".lock"}


def blobs(store: ImageStore) -> set[str]:
    return {f"sha256:{path.name}" for path in (store.directory / "blobs/sha256").iterdir()}


def big_image(seed: int) -> BuiltImage:
    return build_image([{f"big-{seed}": bytes([seed]) * 10 + incompressible(seed)}])


def incompressible(seed: int) -> bytes:
    import random

    return random.Random(seed).randbytes(BIG)


async def test_an_image_is_found_by_all_its_names(store: ImageStore, registry: Registry) -> None:
    built = build_image()
    name = registry.push("names:v1", built)
    image = await store.pull(name)
    hexadecimal = built.config.removeprefix("sha256:")
    names = [name, image.repo_digests[0], built.config, hexadecimal, hexadecimal[:8], built.config[:20]]
    assert [store.find(each) for each in names] == [image] * len(names)
    assert store.find("another") is None
    with pytest.raises(NotFound):
        store.inspect("another")


async def test_removing_an_image_by_one_name_removes_it_wholly_and_again_does_nothing(
    store: ImageStore, registry: Registry
) -> None:
    built = build_image([{"removed": b"r"}])
    for tag in ("1", "2"):
        await store.pull(registry.push(f"removed:{tag}", built))
    assert len(store.inspect(built.config).repo_tags) == 2
    await store.remove(f"{registry.address}/removed:1")
    await store.remove(f"{registry.address}/removed:1")
    assert store.list() == ()
    assert content(store) == {"index.json"}


async def test_removing_an_image_leaves_what_others_share(store: ImageStore, registry: Registry) -> None:
    base = {"shared-base": b"b"}
    one, two = build_image([base, {"only-one": b"1"}]), build_image([base, {"only-two": b"2"}])
    await store.pull(registry.push("base/one", one))
    await store.pull(registry.push("base/two", two))
    await store.remove(one.config)
    assert blobs(store) == {two.config, two.digest, *two.layers}
    assert await store.root_image(two.config)


async def test_a_held_root_image_outlives_the_removal_of_its_image(
    store: ImageStore, registry: Registry, tmp_path: Path
) -> None:
    built = build_image([{"held": b"h"}])
    await store.pull(registry.push("held", built))
    async with store.hold(built.config) as root:
        other = await ImageStore.open(tmp_path / "store", insecure(tmp_path, registry.address))
        await other.remove(built.config)
        assert store.list() == ()
        assert root.path.exists()
    assert not root.path.exists()


async def test_images_of_the_same_layers_share_one_root_image(store: ImageStore, registry: Registry) -> None:
    layers = [{"same": b"s"}]
    one, two = build_image(layers, run={"Cmd": ["1"]}), build_image(layers, compression="zstd", run={"Cmd": ["2"]})
    await store.pull(registry.push("same/one", one))
    await store.pull(registry.push("same/two", two))
    assert await store.root_image(one.config) == await store.root_image(two.config)


@pytest.mark.parametrize("damage", ["missing", "altered", "cut"])
async def test_a_damaged_root_image_is_made_again(store: ImageStore, registry: Registry, damage: str) -> None:
    built = build_image([{"damaged": b"d" * 5000}])
    await store.pull(registry.push("damaged", built))
    root = await store.root_image(built.config)
    whole = root.path.read_bytes()
    if damage == "missing":
        root.path.unlink()
    else:
        root.path.chmod(0o644)
        root.path.write_bytes(whole[:-1] if damage == "cut" else bytes([whole[0] ^ 1]) + whole[1:])
    assert (await store.root_image(built.config)).path.stat().st_size == len(whole)
    assert root.path.read_bytes()[0] == whole[0]


async def test_a_root_image_that_was_only_touched_is_kept(store: ImageStore, registry: Registry) -> None:
    built = build_image([{"touched": b"t"}])
    await store.pull(registry.push("touched", built))
    root = await store.root_image(built.config)
    inode = root.path.stat().st_ino
    root.path.touch()
    assert (await store.root_image(built.config)).path.stat().st_ino == inode


async def test_a_layer_that_was_cut_off_is_fetched_again(store: ImageStore, registry: Registry) -> None:
    shared = {"shared": os.urandom(5000)}
    other, built = build_image([shared, {"other": b"o"}]), build_image([shared, {"own": b"o"}])
    await store.pull(registry.push("other", other))
    blob = store.directory / "blobs/sha256" / built.layers[0].removeprefix("sha256:")
    os.truncate(blob, 100)
    assert (await store.pull(registry.push("cut-off", built))).id == built.config
    assert blob.read_bytes() == built.blobs[built.layers[0]]


async def test_a_damaged_configuration_hides_no_image_and_is_healed_by_removing_and_pulling(
    store: ImageStore, registry: Registry
) -> None:
    built, other = build_image([{"dam": b"1"}]), build_image([{"other": b"2"}])
    name = registry.push("dam", built)
    await store.pull(name)
    await store.pull(registry.push("other", other))
    (store.directory / "blobs/sha256" / built.config.removeprefix("sha256:")).write_bytes(b"{}")
    again = await ImageStore.open(store.directory, insecure(store.directory.parent, registry.address))
    assert {image.id: image.config.cmd for image in again.list()} == {built.config: (), other.config: ("/hello",)}
    with pytest.raises(Internal, match="digest"):
        again.inspect(name)
    await again.remove(name)
    await again.pull(name)
    assert again.inspect(name).config.cmd == ("/hello",)


async def test_usage_is_what_du_counts(store: ImageStore, registry: Registry) -> None:
    await store.pull(registry.push("usage", big_image(1)))
    du = subprocess.run(["du", "-s", "-B1", store.directory], capture_output=True, text=True, check=True)
    usage = store.usage()
    assert usage.bytes == int(du.stdout.split()[0])
    assert usage.inodes == sum(1 for _ in store.directory.rglob("*")) + 1


async def test_usage_is_counted_while_files_come_and_go(store: ImageStore) -> None:
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            directory = Path(tempfile.mkdtemp(dir=store.directory / "staging"))
            (directory / "x").mkdir()
            shutil.rmtree(directory)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(200):
            assert store.usage().inodes >= 6
    finally:
        done.set()
        thread.join()


async def test_pinned_images_are_told_by_their_names(registry: Registry, tmp_path: Path) -> None:
    one, two = build_image([{"pinned": b"p"}]), build_image([{"pinned": b"q"}])
    names = [registry.push("pinned:1", one), registry.push("pinned:2", two)]
    conf = insecure(tmp_path, registry.address).registries_conf
    store = await ImageStore.open(tmp_path / "store", ImagesConfig(registries_conf=conf, pinned=(names[0], "busybox")))
    assert [(await store.pull(name)).pinned for name in names] == [True, False]
    assert {image.id: image.pinned for image in store.list()} == {one.config: True, two.config: False}
    await store.remove(one.config)
    assert store.find(names[0]) is None


async def test_a_pinned_name_that_is_not_valid_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="Not A Name"):
        await ImageStore.open(tmp_path / "store", ImagesConfig(pinned=("Not A Name",)))


async def test_a_removed_image_has_no_root_image(store: ImageStore) -> None:
    with pytest.raises(NotFound, match="no image gone"):
        await store.root_image("gone")
    with pytest.raises(NotFound, match="no image gone"):
        async with store.hold("gone"):
            pass


_PULL = """
import asyncio, sys
from pathlib import Path
from vmsandbox.config import ImagesConfig
from vmsandbox.images.image_store import ImageStore
async def main(directory, conf, name):
    store = await ImageStore.open(Path(directory), ImagesConfig(registries_conf=Path(conf)))
    print((await store.pull(name)).id)
asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def slow(registry: Registry) -> Iterator[StallingProxy]:
    """The registry behind a network that hangs in the middle of a big layer."""
    with stalling(registry.address, BIG // 2) as proxy:
        yield proxy


def start_pull(tmp_path: Path, name: str) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", _PULL, str(tmp_path / "store"), str(tmp_path / "registries.conf"), name]
    return subprocess.Popen(argv, stdout=subprocess.PIPE)


async def test_a_pull_that_is_killed_leaves_nothing_half_made_and_can_be_repeated(
    registry: Registry, slow: StallingProxy, tmp_path: Path
) -> None:
    settings = insecure(tmp_path, registry.address, slow.address)
    built = big_image(2)
    registry.push("killed", built)
    with start_pull(tmp_path, f"{slow.address}/killed") as process:
        await asyncio.to_thread(slow.stalled.wait)
        process.kill()
    slow.go_on.set()
    store = await ImageStore.open(tmp_path / "store", settings)
    assert content(store) == set()
    assert list((store.directory / "staging").iterdir()) == []
    assert (await store.pull(f"{slow.address}/killed")).id == built.config


async def test_a_pull_that_is_cancelled_leaves_nothing(registry: Registry, slow: StallingProxy, tmp_path: Path) -> None:
    store = await ImageStore.open(tmp_path / "store", insecure(tmp_path, slow.address))
    registry.push("cancelled", big_image(3))
    task = asyncio.create_task(store.pull(f"{slow.address}/cancelled"))
    await asyncio.to_thread(slow.stalled.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert content(store) == set()
    assert list((store.directory / "staging").iterdir()) == []


async def test_pulls_of_one_image_by_several_processes_are_one_pull(
    registry: Registry, slow: StallingProxy, tmp_path: Path
) -> None:
    settings = insecure(tmp_path, slow.address)
    built = big_image(4)
    registry.push("processes", built)
    name = f"{slow.address}/processes"
    with start_pull(tmp_path, name) as other:
        await asyncio.to_thread(slow.stalled.wait)
        store = await ImageStore.open(tmp_path / "store", settings)
        seen: list[PullProgress] = []
        ours = asyncio.create_task(store.pull(name, progress=seen.append))
        slow.go_on.set()
        assert (await ours).id == built.config
        assert other.stdout and other.stdout.read().decode().strip() == built.config
    assert registry.fetched(built.layers[0]) == 1
    assert PullPhase.WAITING in {report.phase for report in seen}


async def test_a_waiting_pull_can_be_cancelled(registry: Registry, slow: StallingProxy, tmp_path: Path) -> None:
    store = await ImageStore.open(tmp_path / "store", insecure(tmp_path, registry.address, slow.address))
    built = big_image(5)
    registry.push("waiting", built)
    first = asyncio.create_task(store.pull(f"{slow.address}/waiting"))
    await asyncio.to_thread(slow.stalled.wait)
    waiting = asyncio.Event()
    second = asyncio.create_task(
        store.pull(
            f"{registry.address}/waiting", progress=lambda r: waiting.set() if r.phase is PullPhase.WAITING else None
        )
    )
    await waiting.wait()
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    slow.go_on.set()
    assert (await first).id == built.config


async def test_a_pull_that_hangs_ends_at_its_deadline(registry: Registry, slow: StallingProxy, tmp_path: Path) -> None:
    settings = insecure(tmp_path, slow.address)
    store = await ImageStore.open(
        tmp_path / "store", ImagesConfig(registries_conf=settings.registries_conf, pull_timeout=2)
    )
    registry.push("hanging", big_image(6))
    with pytest.raises(DeadlineExceeded, match="hanging"):
        await store.pull(f"{slow.address}/hanging")
    assert list((store.directory / "staging").iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for less than one big layer."""
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={BIG // 2}", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


async def test_a_full_disk_is_said_and_nothing_stays_on_it(
    registry: Registry, small_disk: Path, tmp_path: Path
) -> None:
    store = await ImageStore.open(small_disk / "store", insecure(tmp_path, registry.address))
    before = store.usage()
    with pytest.raises(ResourceExhausted, match="disk is full"):
        await store.pull(registry.push("too-big", big_image(7)))
    with pytest.raises(ResourceExhausted, match="disk is full"):
        await store.load(write_layout(tmp_path / "layout", {"a:1": big_image(7)}))
    assert store.usage() == before


async def test_an_image_can_be_removed_when_the_disk_is_full(
    registry: Registry, small_disk: Path, tmp_path: Path
) -> None:
    store = await ImageStore.open(small_disk / "store", insecure(tmp_path, registry.address))
    image = await store.pull(registry.push("fits", build_image([{"f": incompressible(9)[:300_000]}])))
    with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(4096)):
            pass
    await store.remove(image.id)
    assert store.list() == ()
    assert content(store) == {"index.json"}


async def test_an_image_larger_than_allowed_is_refused_before_it_is_fetched(registry: Registry, tmp_path: Path) -> None:
    conf = insecure(tmp_path, registry.address).registries_conf
    store = await ImageStore.open(tmp_path / "store", ImagesConfig(registries_conf=conf, max_root_size=BIG // 2))
    built = big_image(8)
    with pytest.raises(ResourceExhausted):
        await store.pull(registry.push("not-allowed", built))
    assert registry.fetched(built.layers[0]) == 0


HOSTILE = {
    "a bomb": (build_image([{"zeros": bytes(BIG)}]), ResourceExhausted, "unpacks to more"),
    "another diff_id": (build_image(damage=lambda _: compress(tar_of({"y": b"y"}), "gzip")), Internal, "diff_id"),
    "cut gzip": (
        build_image([{"x": incompressible(1)[:9000]}], damage=lambda b: b[:5000]),
        InvalidArgument,
        "cut short",
    ),
    "no archive": (build_image([b"?" * 1000]), InvalidArgument, "header"),
    "a whiteout of ..": (build_image([{".wh...": b""}]), InvalidArgument, "whiteout"),
}


@pytest.mark.parametrize(("built", "error", "words"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("way", ["pulled", "loaded"])
async def test_a_hostile_image_is_refused_and_leaves_nothing(
    registry: Registry, tmp_path: Path, built: BuiltImage, error: type[VmsandboxError], words: str, way: str
) -> None:
    conf = insecure(tmp_path, registry.address).registries_conf
    store = await ImageStore.open(tmp_path / "store", ImagesConfig(registries_conf=conf, max_root_size=BIG // 2))
    with pytest.raises(error, match=f"layer 1 of 1: .*{words}"):
        if way == "pulled":
            await store.pull(registry.push("hostile", built))
        else:
            await store.load(write_layout(tmp_path / "layout", {"hostile:1": built}))
    assert content(store) == set()
    assert list((store.directory / "staging").iterdir()) == []


@pytest.mark.parametrize("form", ["directory", "archive"])
async def test_an_oci_layout_is_loaded_under_its_name(store: ImageStore, tmp_path: Path, form: str) -> None:
    built = build_image()
    path = write_layout(tmp_path / "layout", {"example.org/a/b:1": built})
    if form == "archive":
        path = archive_of(path, tmp_path / "with: colon.tar")
    (image,) = await store.load(path)
    assert (image.id, image.repo_tags) == (built.config, ("example.org/a/b:1",))
    assert image.repo_digests == (f"example.org/a/b@{built.digest}",)
    assert path.exists()
    assert await store.root_image("example.org/a/b:1")


async def test_of_a_layout_with_an_index_the_platforms_image_is_loaded(store: ImageStore, tmp_path: Path) -> None:
    mine, other = build_image([{"m": b"m"}]), build_image([{"o": b"o"}], architecture="riscv64")
    layout = write_layout(tmp_path / "layout", {"a:1": build_index({"riscv64": other, "amd64": mine})})
    assert [image.id for image in await store.load(layout)] == [mine.config]


async def test_a_layout_of_several_images_is_loaded_whole(store: ImageStore, tmp_path: Path) -> None:
    images = {"a:1": build_image([{"a": b"a"}]), "b:2": build_image([{"b": b"b"}])}
    loaded = await store.load(write_layout(tmp_path / "layout", images))
    assert [image.repo_tags for image in loaded] == [("docker.io/library/a:1",), ("docker.io/library/b:2",)]
    with pytest.raises(InvalidArgument, match="2 images"):
        await store.load(tmp_path / "layout", "one-name")


async def test_an_image_that_has_names_already_is_called_as_it_was_loaded(store: ImageStore, tmp_path: Path) -> None:
    built = build_image()
    await store.load(write_layout(tmp_path / "one", {"example.org/a:1": built}))
    (loaded,) = await store.load(write_layout(tmp_path / "two", {"example.org/b:2": built}))
    assert loaded.repo_tags == ("example.org/b:2", "example.org/a:1")
    (loaded,) = await store.load(tmp_path / "one", "example.org/c:3")
    assert loaded.repo_tags == ("example.org/c:3", "example.org/a:1", "example.org/b:2")


async def test_a_bare_tag_in_a_layout_is_not_a_name_and_a_name_can_be_given(store: ImageStore, tmp_path: Path) -> None:
    built = build_image()
    layout = write_layout(tmp_path / "layout", {"latest": built})
    assert (await store.load(layout))[0].repo_tags == ()
    assert (await store.load(layout, "hello"))[0].repo_tags == ("docker.io/library/hello:latest",)


def docker_archive(tmp_path: Path, layout: Path, source: str, *names: str) -> Path:
    """Return an archive like that of docker save, written by skopeo."""
    archive = tmp_path / "docker.tar"
    tags = [f"--additional-tag={name}" for name in names[1:]]
    argv = [
        "skopeo",
        "--insecure-policy",
        "copy",
        "-q",
        f"oci:{layout}:{source}",
        f"docker-archive:{archive}:{names[0]}",
    ]
    subprocess.run([*argv, *tags], check=True)
    return archive


async def test_a_docker_archive_is_loaded_under_all_its_names(store: ImageStore, tmp_path: Path) -> None:
    layout = write_layout(tmp_path / "layout", {"a": build_image([{"a": b"a"}, {"b": b"b"}])})
    archive = docker_archive(tmp_path, layout, "a", "localhost/a:1", "localhost/b:2")
    (image,) = await store.load(archive)
    assert (image.repo_tags, image.repo_digests) == (("localhost/a:1", "localhost/b:2"), ())
    assert image.config.cmd == ("/hello",)
    assert await store.root_image("localhost/b:2")


async def test_an_archive_with_a_damaged_blob_changes_nothing(store: ImageStore, tmp_path: Path) -> None:
    built = build_image([{"x": b"x" * 3000}])
    layout = write_layout(tmp_path / "layout", {"a:1": built})
    blob = layout / "blobs/sha256" / built.layers[0].removeprefix("sha256:")
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    with pytest.raises(Internal, match="digest"):
        await store.load(layout)
    assert content(store) == set()


@pytest.mark.parametrize("data", [b"", b"no archive", b"\x1f\x8b\x08broken"])
async def test_a_file_that_is_not_an_archive_is_refused(store: ImageStore, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(InvalidArgument, match="file"):
        await store.load(path)


async def test_a_missing_archive_is_not_found(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="missing"):
        await store.load(tmp_path / "missing.tar")

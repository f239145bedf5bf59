"""The program that builds root images: what it may do, and what a hostile layer can make it take."""

import asyncio
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.builder import ACCOUNT, builders, endless_layer, layers_of, make_root_image
from tests.support.layers import file, layer_tar
from vmsandbox.errors import InvalidArgument, ResourceExhausted, Unavailable, VmsandboxError, error_of_code
from vmsandbox.images.oci import MAX_LAYERS
from vmsandbox.images.rootfs import RootLimit
from vmsandbox.images.rootfs.tar.entry import FileKind
from vmsandbox.images.rootfs.tree.node import TreeNode
from vmsandbox.images.rootfs.writer import END, member

MIB = 1 << 20

_MEASURED = """
import asyncio, json, resource, sys
from pathlib import Path
from tests.support.builder import make_root_image
from vmsandbox.errors import VmsandboxError
from vmsandbox.images.rootfs import Layer, RootLimit
path, diff_id, limit = sys.argv[1:]
error, layer = None, Layer(Path(path), diff_id)
try:
    asyncio.run(make_root_image([layer], Path(path + ".squashfs"), RootLimit(memory=int(limit))))
except VmsandboxError as caught:
    error = (caught.code, str(caught), caught.hint)
print(json.dumps([error, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024]))
"""


def measured(tar: bytes, where: Path, limit: int = RootLimit().memory) -> tuple[VmsandboxError | None, int]:
    """Build a root image: its error, and the most bytes of memory that a process of the builder had."""
    (layer,) = layers_of([tar], where, "gzip")
    # A small process starts it: what the kernel counts begins with the memory of the process that forks.
    command = [sys.executable, "-c", _MEASURED, str(layer.path), layer.diff_id, str(limit)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    error, memory = json.loads(done.stdout)
    sys.stdout.write(f"{memory >> 20} MiB; {error}\n")
    return (error_of_code(error[0])(error[1], hint=error[2]) if error else None), memory


def pax_headers(count: int) -> bytes:
    """PAX headers of 1 MiB each, with a record of its own each, in front of no member."""
    return b"".join(pax_header(b"%d k%05d=%b\n" % (MIB - 64, n, b"v" * (MIB - 80))) for n in range(count)) + END


def pax_header(record: bytes) -> bytes:
    header = bytearray(layer_tar([file("pax", record)], tarfile.USTAR_FORMAT)[:512])
    header[156:157] = b"x"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + record + bytes(-len(record) % 512)


def test_a_layer_of_pax_headers_alone_is_refused_in_little_memory(tmp_path: Path) -> None:
    """They are 317 KiB of gzip, and took 10 GiB."""
    error, memory = measured(pax_headers(300), tmp_path)
    assert (tmp_path / "layer-0").stat().st_size < 512 << 10
    assert error and "extended headers" in str(error) and "layer 1 of 1" in str(error)
    assert memory < 150 * MIB


def names(count: int) -> bytes:
    empty = TreeNode(FileKind.FILE)
    return b"".join(member(b"d%d/%x" % (n // 1000, n), empty) for n in range(count)) + END


def test_a_hundred_thousand_short_names_stay_within_what_they_are_charged(tmp_path: Path) -> None:
    """A million of them, by hand: 0.6 GiB."""
    error, memory = measured(names(100_000), tmp_path)
    assert error is None
    assert memory < 30 * MIB + 100_100 * 800


def test_more_names_than_the_limit_has_memory_for_are_refused_with_what_to_do(tmp_path: Path) -> None:
    error, memory = measured(names(50_000), tmp_path, limit=20 * MIB)
    assert isinstance(error, ResourceExhausted)
    assert "layer 1 of 1" in str(error) and str(20 * MIB) in str(error)
    assert "images.max_root_memory" in error.hint
    assert memory < 60 * MIB


def test_a_builder_that_needs_more_than_it_was_charged_has_the_same_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where an estimate is wrong, the kernel's limit holds: here there is no room for the window of a zstd stream."""
    tar = layer_tar([file("a", bytes(200 * MIB))])
    (layer,) = layers_of([tar], tmp_path, "zstd")
    layer.path.write_bytes(
        subprocess.run(["zstd", "-qc", "--long=27"], input=tar, check=True, capture_output=True).stdout
    )
    monkeypatch.setattr("vmsandbox.images.rootfs.build._FIXED_MEMORY", 64 * MIB)
    with pytest.raises(ResourceExhausted, match="bytes of memory"):
        asyncio.run(make_root_image([layer], tmp_path / "o", RootLimit(memory=MIB)))


@pytest.fixture
async def busy_builder(tmp_path: Path) -> AsyncIterator[int]:
    """The process id of a builder that reads its layer."""
    layer = endless_layer(tmp_path)
    task = asyncio.create_task(make_root_image([layer], tmp_path / "o", RootLimit(size=layer.path.stat().st_size)))
    ours = str(layer.path)
    while not (found := [pid for pid in builders() if is_builder(pid) and ours in files(pid)]):
        await asyncio.sleep(0.01)
    yield found[0]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    while found[0] in builders():
        await asyncio.sleep(0.01)


def is_builder(pid: int) -> bool:
    """Whether it has given root up."""
    return status(pid).get("Uid", "").split() == [str(ACCOUNT.uid)] * 4


def files(pid: int) -> set[str]:
    try:
        return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    except OSError:  # it has ended
        return set()


def status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


async def test_a_builder_is_an_unprivileged_user_without_capabilities(busy_builder: int) -> None:
    seen = status(busy_builder)
    assert seen["Gid"].split() == [str(ACCOUNT.gid)] * 4
    assert seen["Groups"] == ""
    assert {int(seen[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
    assert seen["NoNewPrivs"] == "1"


async def test_a_builder_has_no_network_and_goes_first_when_memory_runs_out(busy_builder: int) -> None:
    interfaces = Path(f"/proc/{busy_builder}/net/dev").read_text().splitlines()[2:]
    assert [line.partition(":")[0].strip() for line in interfaces] == ["lo"]
    assert Path(f"/proc/{busy_builder}/oom_score_adj").read_text() == "500\n"
    limits = Path(f"/proc/{busy_builder}/limits").read_text()
    assert f"{(1 << 30) + 256 * MIB}" in next(line for line in limits.splitlines() if line.startswith("Max data size"))


async def test_a_builder_has_no_files_but_its_layers_its_image_and_one_without_a_name(
    busy_builder: int, tmp_path: Path
) -> None:
    names = {name for name in files(busy_builder) if name.startswith("/")}
    (unnamed,) = names - {str(tmp_path / "endless"), str(tmp_path / "o")}
    assert unnamed.startswith(f"{tmp_path}/") and unnamed.endswith(" (deleted)")


async def test_a_damaged_layer_ends_the_build_before_the_others_are_there(tmp_path: Path) -> None:
    layers = layers_of([b"?" * 2000, layer_tar([file("a")])], tmp_path)
    asked: list[Path] = []

    async def first_alone(path: Path) -> None:
        asked.append(path)
        if path != layers[0].path:
            await asyncio.Event().wait()

    with pytest.raises(InvalidArgument, match="layer 1 of 2"):
        await make_root_image(layers, tmp_path / "o", RootLimit(), arrival=first_alone)
    assert asked == [layer.path for layer in layers]


async def test_a_layer_that_does_not_come_ends_the_builder(tmp_path: Path) -> None:
    layers = layers_of([layer_tar([file("a")])], tmp_path)

    async def refused(_: Path) -> None:
        raise Unavailable("the registry has gone")

    before = builders()
    with pytest.raises(Unavailable, match="gone"):
        await make_root_image(layers, tmp_path / "o", RootLimit(), arrival=refused)
    while builders() - before:
        await asyncio.sleep(0.01)


async def test_more_layers_than_a_socket_holds_are_merged(tmp_path: Path) -> None:
    layers = layers_of([layer_tar([file(f"f{number}")]) for number in range(MAX_LAYERS)], tmp_path)
    await make_root_image(layers, tmp_path / "o", RootLimit())
    assert (tmp_path / "o").stat().st_size


def test_a_root_image_belongs_to_root_when_it_is_made(tmp_path: Path) -> None:
    asyncio.run(make_root_image(layers_of([layer_tar([file("a")])], tmp_path), tmp_path / "o", RootLimit()))
    made = (tmp_path / "o").stat()
    assert (made.st_uid, made.st_gid) == (os.geteuid(), os.getegid())

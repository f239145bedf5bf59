"""The layers of the guest image: keys, caching, manifest, agent zip, initramfs."""

import importlib.util
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vmsandbox.errors import FailedPrecondition, Internal, InvalidArgument, NotFound
from vmsandbox.guestimage import boot, build, inputs, manifest
from vmsandbox.guestimage.base import Base
from vmsandbox.guestimage.inputs import DEBIAN, SMALL, Progress, Recipe
from vmsandbox.guestimage.mirrors import Source
from vmsandbox.guestimage.small_kernel import SmallKernel
from vmsandbox.guestimage.store import locked

RECIPE = Recipe("trixie", (Source("http://mirror.example/debian", "trixie", ("main",)),), 1735689600)
KERNEL = "6.12.1-cloud"


@pytest.fixture
def definition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of guest-image/ that a test may change."""
    copy = tmp_path / "guest-image"
    subprocess.run(["cp", "-r", inputs.DEFINITION, copy], check=True)
    monkeypatch.setattr(inputs, "DEFINITION", copy)
    return copy


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The least that an agent's sources may be."""
    root = tmp_path / "checkout"
    for name in ("agent/vmsandbox_agent/__main__.py", "vmsandbox/__init__.py", "vmsandbox/protocol/framing.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("def main(): print('agent runs')\n")
    return root


def test_keys_are_the_same_for_the_same_inputs() -> None:
    assert (RECIPE.key(), RECIPE.base_key()) == (RECIPE.key(), RECIPE.base_key())


@pytest.mark.parametrize("changed", ["base/packages.txt", "base/customize", "base/etc/passwd"])
def test_a_change_to_the_base_changes_both_keys(definition: Path, changed: str) -> None:
    before = RECIPE.base_key(), RECIPE.key()
    with (definition / changed).open("a") as file:
        file.write("# changed\n")
    assert RECIPE.base_key() != before[0]
    assert RECIPE.key() != before[1]


@pytest.mark.parametrize("changed", ["boot/init", "boot/modules.txt", "boot/command-line.txt"])
def test_a_change_to_the_boot_layer_keeps_the_base(definition: Path, changed: str) -> None:
    before = RECIPE.base_key(), RECIPE.key()
    with (definition / changed).open("a") as file:
        file.write("# changed\n")
    assert RECIPE.base_key() == before[0]
    assert RECIPE.key() != before[1]


def test_suite_mirror_and_epoch_are_inputs() -> None:
    others = [
        Recipe("sid", RECIPE.sources, RECIPE.epoch),
        Recipe("trixie", (Source("http://other.example/debian", "trixie", ("main",)),), RECIPE.epoch),
        Recipe("trixie", RECIPE.sources, 0),
    ]
    assert len({recipe.base_key() for recipe in (RECIPE, *others)}) == 4


def test_the_agent_build_changes_with_agent_and_protocol_and_nothing_else(checkout: Path) -> None:
    builds = [inputs.agent_build(checkout)]
    for name in ("agent/vmsandbox_agent/new.py", "vmsandbox/protocol/framing.py", "vmsandbox/errors.py"):
        (checkout / name).write_text("VALUE = 1\n")
        builds.append(inputs.agent_build(checkout))
    assert builds[0] != builds[1] != builds[2] == builds[3]


def test_moving_code_between_files_changes_the_agent_build(checkout: Path) -> None:
    agent = checkout / "agent" / "vmsandbox_agent"
    (agent / "a.py").write_text("x")
    (agent / "b.py").write_text("yz")
    before = inputs.agent_build(checkout)
    (agent / "a.py").write_text("xy")
    (agent / "b.py").write_text("z")
    assert inputs.agent_build(checkout) != before


def test_the_agents_sources_are_the_agent_and_the_protocol() -> None:
    names = set(inputs.agent_sources())
    assert {"vmsandbox/__init__.py", "vmsandbox/protocol/messages/guest.py", "vmsandbox_agent/__init__.py"} <= names
    assert all(name.startswith(("vmsandbox_agent/", "vmsandbox/protocol/", "vmsandbox/__init__")) for name in names)


def test_the_command_line_has_no_comments_and_ends_the_machine_on_panic() -> None:
    line = inputs.command_line()
    assert "#" not in line
    assert {"console=hvc0", "panic=-1"} <= set(line.split())


@pytest.fixture
def packer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pack_agent", inputs.DEFINITION / "boot" / "pack_agent.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _zip(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


def test_the_agents_zip_does_not_depend_on_time_or_order(packer: ModuleType) -> None:
    first = packer.pack(_zip({"b.py": b"x = 1\n", "a.py": b"y = 2\n"}))
    assert first == packer.pack(_zip({"a.py": b"y = 2\n", "b.py": b"x = 1\n"}))


def test_the_agents_zip_runs_from_its_compiled_code(packer: ModuleType, tmp_path: Path) -> None:
    packed = packer.pack(_zip({"__main__.py": b"import part\n", "part.py": b"print(__cached__[-8:])\n"}))
    (tmp_path / "agent.pyz").write_bytes(packed)
    with zipfile.ZipFile(tmp_path / "agent.pyz") as archive:
        assert archive.namelist() == ["__main__.py", "__main__.pyc", "part.py", "part.pyc"]
        assert archive.read("part.pyc")[4] & 0b11 == 0b01  # by hash, not checked: PEP 552
    done = subprocess.run([sys.executable, "-I", tmp_path / "agent.pyz"], capture_output=True, text=True, check=True)
    assert done.stdout == "part.pyc\n"


def test_the_agents_zip_has_the_code_of_its_dataclasses(tmp_path: Path) -> None:
    packer = [sys.executable, "-I", "-S", "-B", inputs.DEFINITION / "boot" / "pack_agent.py"]
    first, second = (
        subprocess.run(packer, input=boot.zip_sources(), capture_output=True, check=True).stdout for _ in range(2)
    )
    assert first == second
    archive = tmp_path / "agent.pyz"
    archive.write_bytes(first)
    start = (
        "import sys; sys.path.insert(0, sys.argv[1]); from vmsandbox_agent import dataclass_code;"
        "packed = len(dataclass_code.CODE); import vmsandbox_agent.__main__;"
        "print(packed > 40, len(dataclass_code.CODE) - packed)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start, archive], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True 0\n"


def _fake_base(directory: Path) -> Base:
    """A base layer with all that the boot layer takes from it."""
    base = Base(directory)
    modules = directory / "debs/kernel/usr/lib/modules" / KERNEL
    modules.mkdir(parents=True)
    names = inputs.read_list(inputs.DEFINITION / "boot" / "modules.txt")
    for name in names:
        (modules / f"{name}.ko").write_bytes(name.encode())
    (modules / "modules.dep").write_text("".join(f"{name}.ko:\n" for name in names))
    (modules / "modules.builtin").write_text("")
    (base.tree / "usr/bin").mkdir(parents=True)
    (base.tree / "usr/bin/busybox").write_bytes(b"busybox")
    base.packages.write_text("crun 1.21-1\n")
    for path in (base.vmlinux, base.root, base.root_files):
        path.write_bytes(path.name.encode())
    return base


async def _initramfs(tmp_path: Path, name: str) -> bytes:
    workspace = tmp_path / name
    workspace.mkdir()
    base = Base(tmp_path / "base") if (tmp_path / "base").exists() else _fake_base(tmp_path / "base")
    return await boot.build_initramfs(base, b"agent", 1735689600, workspace)


async def test_the_initramfs_is_the_same_whenever_and_wherever_it_is_built(tmp_path: Path) -> None:
    assert await _initramfs(tmp_path, "one") == await _initramfs(tmp_path, "two")


async def test_the_initramfs_holds_init_modules_and_agent(tmp_path: Path) -> None:
    archive = await _initramfs(tmp_path, "one")
    listing = subprocess.run(["cpio", "--list", "--quiet"], input=archive, capture_output=True, check=True)
    names = listing.stdout.decode().split()
    assert {"init", "bin/busybox", "agent/agent.pyz", "agent/build-id", "modules/order"} <= set(names)
    assert names.index("modules") < names.index("modules/order")


class BaseBuilder:
    """Stands in for mmdebstrap."""

    def __init__(self) -> None:
        self.built = 0
        self.kernels: list[str] = []
        self.failure: Exception | None = None

    async def __call__(self, recipe: Recipe, kernel: SmallKernel | None, directory: Path, progress: Progress) -> Base:
        self.built += 1
        self.kernels.append(kernel.directory.name if kernel else recipe.kernel)
        base = _fake_base(directory)
        if self.failure:
            raise self.failure
        return base


@pytest.fixture
def bases(monkeypatch: pytest.MonkeyPatch) -> BaseBuilder:
    builder = BaseBuilder()

    async def pack_agent(tree: Path) -> bytes:
        return boot.zip_sources()

    monkeypatch.setattr(build, "build_base", builder)
    monkeypatch.setattr(build, "pack_agent", pack_agent)
    monkeypatch.setattr(build.os, "geteuid", lambda: 0)
    return builder


async def _build(output: Path, **options: Any) -> manifest.BuiltImage:
    return await build.build_guest_image(mirror="http://mirror.example/debian", output=output, **options)


async def test_an_image_is_built_once_and_made_current(tmp_path: Path, bases: BaseBuilder) -> None:
    first = await _build(tmp_path / "out")
    second = await _build(tmp_path / "out")
    assert (first, bases.built) == (second, 1)
    assert manifest.load_image(tmp_path / "out" / "current") == first
    assert first.manifest.kernel == KERNEL
    assert first.manifest.packages == {"crun": "1.21-1"}
    assert first.manifest.build == inputs.agent_build()


async def test_a_change_to_the_boot_layer_builds_no_base(tmp_path: Path, bases: BaseBuilder, definition: Path) -> None:
    before = await _build(tmp_path / "out")
    with (definition / "boot" / "command-line.txt").open("a") as file:
        file.write("panic=1\n")
    after = await _build(tmp_path / "out")
    assert bases.built == 1
    assert manifest.load_image(tmp_path / "out" / "current") == after
    assert after.directory != before.directory
    assert after.manifest.command_line == before.manifest.command_line + " panic=1"


async def test_the_small_kernel_is_compiled_when_it_is_asked_for_and_used_where_it_is(
    tmp_path: Path, bases: BaseBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def compile_kernel(recipe: Recipe, kernels: Path, *, refresh: bool, progress: Progress) -> SmallKernel:
        (kernels / recipe.kernel_key()).mkdir(parents=True)
        return SmallKernel(kernels / recipe.kernel_key())

    monkeypatch.setattr(build, "compile_kernel", compile_kernel)
    debian = await _build(tmp_path / "out")
    small = await _build(tmp_path / "out", kernel=SMALL)
    assert await _build(tmp_path / "out") == small
    assert await _build(tmp_path / "out", kernel=DEBIAN) == debian
    assert bases.kernels == [DEBIAN, next((tmp_path / "out/kernel").iterdir()).name]


async def test_refresh_builds_anew(tmp_path: Path, bases: BaseBuilder) -> None:
    await _build(tmp_path / "out")
    await _build(tmp_path / "out", refresh=True)
    assert bases.built == 2


async def test_a_failed_build_leaves_the_current_image_and_nothing_half_made(
    tmp_path: Path, bases: BaseBuilder
) -> None:
    image = await _build(tmp_path / "out")
    bases.failure = Internal("no network")
    with pytest.raises(Internal):
        await _build(tmp_path / "out", refresh=True)
    assert manifest.load_image(tmp_path / "out" / "current") == image
    assert not list((tmp_path / "out").rglob(".building-*"))


async def test_what_a_killed_build_left_is_removed_by_the_next(tmp_path: Path, bases: BaseBuilder) -> None:
    leftover = tmp_path / "out" / "base" / f".building-{RECIPE.base_key()}"
    leftover.mkdir(parents=True)
    await _build(tmp_path / "out")
    assert not leftover.exists()


async def test_two_builds_at_once_are_refused(tmp_path: Path, bases: BaseBuilder) -> None:
    (tmp_path / "out").mkdir()
    with locked(tmp_path / "out"), pytest.raises(FailedPrecondition, match="another build"):
        await _build(tmp_path / "out")


async def test_building_without_root_says_so(
    tmp_path: Path, bases: BaseBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build.os, "geteuid", lambda: 1000)
    with pytest.raises(FailedPrecondition, match="root"):
        await _build(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suite", ["bookworm", "bookworm-backports", "oldstable"])
async def test_a_suite_that_no_guest_can_be_made_of_is_refused_at_once(tmp_path: Path, suite: str) -> None:
    with pytest.raises(InvalidArgument, match="LZ4") as refused:
        await build.build_guest_image(suite=suite, output=tmp_path / "out")
    assert "trixie" in refused.value.hint
    assert not (tmp_path / "out").exists()


def test_no_image_is_an_error_that_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as error:
        manifest.load_image(tmp_path)
    assert "build-guest" in error.value.hint


async def test_an_image_with_a_file_missing_is_refused_and_built_again(tmp_path: Path, bases: BaseBuilder) -> None:
    image = await _build(tmp_path / "out")
    image.initramfs.unlink()
    with pytest.raises(FailedPrecondition, match=r"initramfs\.img"):
        manifest.load_image(image.directory)
    assert (await _build(tmp_path / "out")).initramfs.is_file()


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"format": 99}), "{"])
def test_a_manifest_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(FailedPrecondition):
        manifest.load_image(tmp_path)

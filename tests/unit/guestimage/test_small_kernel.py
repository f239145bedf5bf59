"""The small kernel's configuration, and when it is compiled."""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.kernel_features import features
from vmsandbox.errors import Internal
from vmsandbox.guestimage import inputs, small_kernel
from vmsandbox.guestimage.inputs import DEFINITION, SMALL, Recipe
from vmsandbox.guestimage.mirrors import Source
from vmsandbox.guestimage.small_kernel import SmallKernel, compile_kernel
from vmsandbox.process import Completed

RECIPE = Recipe("trixie", (Source("http://mirror.example/debian", "trixie", ("main",)),), 1735689600, SMALL)
LINES = re.findall(r"^CONFIG_(\w+)=(.*)", (DEFINITION / "kernel" / "config").read_text(), re.MULTILINE)
_DERIVED = {"MULTIUSER", "POSIX_MQUEUE_SYSCTL"}
"""Options that others of the list bring with them."""


def test_the_configuration_has_every_option_of_every_feature() -> None:
    configured = {name for name, value in LINES if value in ("y", "m")}
    missing = {feature.name: set(feature.options) - configured - _DERIVED for feature in features()}
    assert not {name: options for name, options in missing.items() if options}


def test_no_option_is_configured_twice_or_switched_off() -> None:
    """All that the file does not name is off."""
    names = [name for name, _ in LINES]
    assert sorted(names) == sorted(set(names))
    assert "n" not in {value for _, value in LINES}


class Builder:
    """Stands in for mmdebstrap and for the compilation in its tree."""

    def __init__(self) -> None:
        self.unpacked = self.compiled = 0
        self.source = "6.12.1-1"
        self.fails = False

    async def run(self, argv: Sequence[str], **_: object) -> Completed:
        if argv[0] == "mmdebstrap":
            self.unpacked += 1
            names = f"gcc-14_14.2.0-19_amd64.deb\nlinux-source-6.12_1%3a{self.source}_all.deb\nsed_4.9-2_amd64.deb\n"
            Path(argv[-2], "packages").write_text(names)
        else:
            self._compile(Path(argv[argv.index("chroot") + 1]))
        return Completed(0, b"")

    def _compile(self, tree: Path) -> None:
        assert {"config", "build"} <= {path.name for path in tree.iterdir()}
        if self.fails:
            raise Internal("nice failed with status 1: the configuration does not come out")
        self.compiled += 1
        (tree / "out/modules/6.12.1-vmsandbox").mkdir(parents=True)
        (tree / "out/vmlinux").write_bytes(b"kernel")


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    builder = Builder()
    monkeypatch.setattr(small_kernel.process, "run", builder.run)
    return builder


async def _compile(tmp_path: Path, *, refresh: bool = False) -> SmallKernel:
    return await compile_kernel(RECIPE, tmp_path / "kernel", refresh=refresh, progress=lambda _: None)


async def test_a_kernel_is_compiled_once(tmp_path: Path, builder: Builder) -> None:
    kernel = await _compile(tmp_path)
    assert await _compile(tmp_path) == kernel
    assert (builder.unpacked, builder.compiled) == (1, 1)
    assert kernel.vmlinux.read_bytes() == b"kernel"
    assert kernel.modules.name == "6.12.1-vmsandbox"
    assert kernel.named_packages() == "gcc-14 14.2.0-19\nlinux-source-6.12 1:6.12.1-1\n"
    assert [path.name for path in (tmp_path / "kernel").glob(".*")] == []


async def test_refresh_compiles_only_where_the_mirror_has_something_newer(tmp_path: Path, builder: Builder) -> None:
    await _compile(tmp_path)
    await _compile(tmp_path, refresh=True)
    assert (builder.unpacked, builder.compiled) == (2, 1)
    builder.source = "6.12.2-1"
    kernel = await _compile(tmp_path, refresh=True)
    assert builder.compiled == 2
    assert "6.12.2-1" in kernel.packages.read_text()


async def test_a_failed_compilation_leaves_the_kernel_that_was_there(tmp_path: Path, builder: Builder) -> None:
    before = await _compile(tmp_path)
    builder.fails, builder.source = True, "6.13-1"
    with pytest.raises(Internal, match="does not come out"):
        await _compile(tmp_path, refresh=True)
    assert before.vmlinux.is_file()
    assert [path.name for path in (tmp_path / "kernel").glob(".*")] == []


def test_the_configuration_is_an_input_of_the_kernel_and_of_images_that_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian = Recipe(RECIPE.suite, RECIPE.sources, RECIPE.epoch)
    before = RECIPE.kernel_key(), RECIPE.base_key(), debian.base_key()
    subprocess.run(["cp", "-r", inputs.DEFINITION, tmp_path / "guest-image"], check=True)
    monkeypatch.setattr(inputs, "DEFINITION", tmp_path / "guest-image")
    with (tmp_path / "guest-image/kernel/config").open("a") as file:
        file.write("CONFIG_XFS_FS=m\n")
    after = RECIPE.kernel_key(), RECIPE.base_key(), debian.base_key()
    assert (before[0] != after[0], before[1] != after[1], before[2] == after[2]) == (True, True, True)


def _build(tmp_path: Path, came_out: str) -> "subprocess.CompletedProcess[str]":
    """Run the script that compiles, with its directories in `tmp_path` and a source that configures itself so."""
    text = (DEFINITION / "kernel" / "build").read_text()
    (tmp_path / "build").write_text(re.sub(r"(?<=[\s>=])/(?=out|source|config|usr)", f"{tmp_path}/", text))
    (tmp_path / "config").write_text("# Two options.\nCONFIG_TUN=m\nCONFIG_SMP=y\n")
    (tmp_path / "came-out").write_text(came_out)
    make = f'case "$*" in *allnoconfig) cp {tmp_path}/came-out .config ;; *modules_install) ;; *) touch vmlinux ;; esac'
    for name, script in {"make": make, "strip": f"touch {tmp_path}/out/vmlinux", "mv": "", "tar": ""}.items():
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "usr/bin").mkdir(parents=True)
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "SOURCE_DATE_EPOCH": "1735689600"}
    return subprocess.run(["sh", tmp_path / "build", "2"], env=environment, capture_output=True, text=True, check=False)


def test_a_kernel_is_compiled_whose_source_takes_every_line_of_the_configuration(tmp_path: Path) -> None:
    done = _build(tmp_path, "CONFIG_SMP=y\nCONFIG_NEW=y\nCONFIG_TUN=m\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "out/vmlinux").exists()


@pytest.mark.parametrize("lost", ["", "# CONFIG_TUN is not set\n", "CONFIG_TUN=y\n"])
def test_a_source_that_loses_a_line_of_the_configuration_is_not_compiled(tmp_path: Path, lost: str) -> None:
    """An update may bring such a source: the option has another name there, or needs another one."""
    done = _build(tmp_path, f"CONFIG_SMP=y\n{lost}")
    assert done.returncode == 1 and not (tmp_path / "out/vmlinux").exists()
    assert done.stderr.splitlines()[-2:] == [
        "CONFIG_TUN=m",
        "the kernel's configuration does not come out with these lines of guest-image/kernel/config",
    ]

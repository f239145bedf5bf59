"""The wheel, built of what git tracks and installed by itself: no checkout is near it."""

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from vmsandbox.guestimage import inputs
from vmsandbox.guestimage.mirrors import Source
from vmsandbox.version import VERSION

CHECKOUT = Path(__file__).parents[2]
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
_RECIPE = inputs.Recipe("trixie", (Source("http://mirror.example/debian", "trixie", ("main",)),), 1735689600)
_PRINT_KEYS = """
import sys
from vmsandbox.guestimage import inputs
from vmsandbox.guestimage.mirrors import Source
recipe = inputs.Recipe("trixie", (Source("http://mirror.example/debian", "trixie", ("main",)),), 1735689600)
print(inputs.__file__, recipe.base_key(), recipe.key(), inputs.agent_build())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without network, and without writing into the checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, stdout=subprocess.PIPE).stdout
    present = b"\0".join(name for name in listed.split(b"\0") if (CHECKOUT / os.fsdecode(name)).is_file())
    copy = ["cpio", "--pass-through", "--make-directories", "--null", "--quiet", directory / "copy"]
    (directory / "copy").mkdir()
    subprocess.run(copy, cwd=CHECKOUT, input=present, check=True)
    build = [*_PIP, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", directory]
    subprocess.run([*build, directory / "copy"], check=True)
    [wheel] = directory.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment of its own, which borrows the packages that ours has."""
    directory = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    python = directory / "bin/python"
    command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel]
    subprocess.run(command, check=True)
    [site] = directory.glob("lib/python3*/site-packages")
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return directory


def _run(installed: Path, *command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program, *arguments = command
    return subprocess.run(
        [installed / "bin" / program, *arguments],
        cwd="/", env=environment, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def test_an_installed_wheel_has_the_command_line(installed: Path) -> None:
    assert "Usage: vmsandbox" in _run(installed, "vmsandbox", "--help")
    assert VERSION in _run(installed, "vmsandbox", "--version")
    assert "Usage: vmsandbox image" in _run(installed, "vmsandbox", "image", "build-guest", "--help")


def test_an_installed_wheel_builds_the_guest_image_that_the_checkout_builds(installed: Path) -> None:
    place, *keys = _run(installed, "python", "-c", _PRINT_KEYS).split()
    assert place.startswith(str(installed))
    assert keys == [_RECIPE.base_key(), _RECIPE.key(), inputs.agent_build()]


def test_a_wheel_has_no_more_than_the_program_and_the_sources_of_its_guest_image(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    below = {name.partition("/")[0] for name in names}
    assert below == {"vmsandbox", f"vmsandbox-{VERSION}.dist-info"}
    assert not [name for name in names if "__pycache__" in name]
    sources = {name.split("/")[2] for name in names if name.startswith("vmsandbox/sources/")}
    assert sources == {"agent", "guest-image", "vmsandbox"}


def test_the_version_has_one_place() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert not re.search(r'^version = "', (CHECKOUT / "pyproject.toml").read_text(), re.MULTILINE)

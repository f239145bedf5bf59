"""`make install` below a directory of its own, in the same files that a host gets."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmsandbox.cli.table import TABLE
from vmsandbox.version import VERSION

CHECKOUT = Path(__file__).parents[2]
INSTALL = CHECKOUT / "packaging/install.sh"
_KEEP_OUT = {"DESTDIR": "/"}
"""Files only: what `make install` does with the host's users and services is for a host."""


def _install(action: str, directory: Path) -> str:
    environment = {**os.environ, **_KEEP_OUT, "PREFIX": str(directory / "usr"), "SYSCONFDIR": str(directory / "etc")}
    return subprocess.run([INSTALL, action], env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def _tree(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Over an older version, of which a file is left. At the end nothing stays except what others have put there."""
    directory = tmp_path_factory.mktemp("host")
    (directory / "usr/bin").mkdir(parents=True)
    (directory / "usr/share/man/man1").mkdir(parents=True)
    (directory / "usr/share").chmod(0o711)
    before = _tree(directory)
    program = directory / "usr/lib/vmsandbox"
    program.mkdir(parents=True)
    (directory / "usr/share/man/man1/vmsandbox-gone.1").touch()
    lib = f"{directory}/usr/lib/"  # the first version made it
    (program / "installed").write_text(f"{lib}\n{directory}/usr/share/man/man1/vmsandbox-gone.1\n")
    _install("install", directory)
    yield directory
    said = _install("uninstall", directory)
    assert "/var/lib/vmsandbox" in said
    assert _tree(directory) == before


def _run(program: Path, *arguments: str) -> str:
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": "/nowhere"}
    return subprocess.run([program, *arguments], cwd="/", env=environment, check=True, stdout=-1, text=True).stdout


def test_directories_that_there_were_keep_their_modes(installed: Path) -> None:
    assert (installed / "usr/share").stat().st_mode & 0o7777 == 0o711
    assert Path("/").stat().st_mode & 0o555 == 0o555, "the directory that is staged is closed to others"


def test_what_is_installed_runs_without_the_checkout(installed: Path) -> None:
    assert VERSION in _run(installed / "usr/bin/vmsandbox", "--version")
    assert VERSION in _run(installed / "usr/bin/vmsandbox-oci", "--version")
    asked = "import vmsandbox.node.host as host; print(host.__file__, host.file_server.HELPERS)"
    module, helpers = _run(installed / "usr/lib/vmsandbox/bin/python3", "-I", "-c", asked).split()
    assert module.startswith(f"{installed}/usr/lib/vmsandbox/lib/python3.{sys.version_info.minor}/")
    assert helpers == f"{installed}/usr/lib/vmsandbox/libexec"
    for helper in Path(helpers).iterdir():
        if helper.is_file() and helper.name != "libvirt-directory":
            assert _run(helper, "--version")


def test_nothing_that_is_installed_names_where_it_was_built(installed: Path) -> None:
    found = subprocess.run(["grep", "-rlI", CHECKOUT, installed], check=False, stdout=subprocess.PIPE, text=True).stdout
    assert found == ""


def test_no_package_of_the_tests_is_installed(installed: Path) -> None:
    [site] = installed.glob("usr/lib/vmsandbox/lib/python3*/site-packages")
    names = {path.name.partition("-")[0].lower() for path in site.glob("*.dist-info")}
    assert {"grpcio", "libvirt_python", "vmsandbox"} <= names
    assert not {"pytest", "mypy", "ruff", "pip", "setuptools"} & names


def test_systemd_finds_nothing_wrong_with_the_installed_unit(installed: Path) -> None:
    unit = installed / "usr/lib/systemd/system/vmsandbox.service"
    assert f"ExecStart={installed}/usr/bin/vmsandbox serve" in unit.read_text()
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (verified.stdout, verified.stderr, verified.returncode) == ("", "", 0)


def test_every_command_has_a_manual_page_that_says_what_its_help_says(installed: Path) -> None:
    pages = installed / "usr/share/man/man1"
    named = {f"vmsandbox-{words.replace(' ', '-')}.1" for words, line in TABLE.items() if line.help}
    assert {page.name for page in pages.iterdir()} == {"vmsandbox.1", *named}
    shown = subprocess.run(["mandoc", "-Tutf8", pages / "vmsandbox-run.1"], check=True, stdout=-1, text=True).stdout
    plain = " ".join(re.sub(".\b", "", shown).split())
    assert TABLE["run"].help in plain
    assert "--timings Show how long each step of the start took." in plain


def test_manual_pages_are_well_formed(installed: Path) -> None:
    pages = list((installed / "usr/share/man").rglob("*.[15]"))
    linted = subprocess.run(["mandoc", "-Tlint", "-Wwarning", *pages], check=False, stdout=-1, text=True).stdout
    wrong = [line for line in linted.splitlines() if "missing date" not in line]  # the same pages at every build
    assert wrong == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_where_the_shell_looks_for_it(installed: Path, shell: str) -> None:
    places = {
        "bash": "bash-completion/completions/vmsandbox",
        "zsh": "zsh/site-functions/_vmsandbox",
        "fish": "fish/vendor_completions.d/vmsandbox.fish",
    }
    assert f"_VMSANDBOX_COMPLETE={shell}_complete" in (installed / "usr/share" / places[shell]).read_text()


def test_uninstalling_what_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        _install("uninstall", tmp_path)

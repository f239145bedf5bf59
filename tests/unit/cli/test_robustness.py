"""No command ends in a traceback: whatever its output is, without rights, without a daemon. The table is walked."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.unit.cli.test_table import command_of
from vmsandbox.cli.table import TABLE

NOBODY = 65534
LEAVES = [words for words in TABLE if not isinstance(command_of(words), click.Group)]
STATUSES = (0, 1, 2, 125)
"""The exit statuses of `vmsandbox.cli.execution`, without those of interrupts."""

MAIN = "import sys; sys.argv[0] = 'vmsandbox'; from vmsandbox.__main__ import main; main()"


def arguments_of(words: str) -> list[str]:
    """Return something for every argument that a command takes."""
    arguments = [one for one in command_of(words).params if isinstance(one, click.Argument)]
    values = {"ports": "80", "shell": "bash"}
    return [*words.split(), *(values.get(str(one.name), "x") for one in arguments)]


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """A directory with a configuration whose directories, socket, home and working directory are closed to others.

    It is not pytest's, whose directories are closed to others as well.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o711)
        for closed in ("home", "locked"):
            (directory / closed).mkdir(mode=0o700)
        locked = directory / "locked"
        settings = f"state_directory: {locked}/state\nrun_directory: {locked}/run\nsocket: {directory}/none.sock\n"
        (directory / "config.yaml").write_text(settings)
        (directory / "config.yaml").chmod(0o644)
        yield directory


def shell(
    directory: Path, arguments: list[str], redirections: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command line as nobody, in a directory and with a home that nobody may not enter."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory / "home"), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment |= {"VMSANDBOX_CONFIG": str(directory / "config.yaml"), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    line = f"{shlex.join([sys.executable, '-c', MAIN, *arguments])} {redirections}"
    command = ["/bin/sh", "-c", line]
    ids = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if os.geteuid() == 0 else {}
    return subprocess.run(
        command,
        env=environment,
        cwd=directory / "home",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **ids,
    )  # type: ignore[call-overload,no-any-return]


@pytest.fixture(autouse=True)
def anybody_can_read_the_checkout() -> None:
    """A checkout in root's home cannot be run as nobody at all."""
    here = Path(__file__).resolve()
    if os.geteuid() == 0 and not all(way.stat().st_mode & 0o005 == 0o005 for way in here.parents):
        pytest.skip("nobody cannot read this checkout")


@pytest.mark.parametrize("words", LEAVES)
def test_without_rights_and_daemon_a_command_ends_with_a_sentence(elsewhere: Path, words: str) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    ran = shell(elsewhere, arguments_of(words), ">/dev/full", **ascii_only)
    assert ran.returncode in STATUSES
    assert ran.returncode != 0, "it could not have done anything"
    assert "error: " in ran.stderr.lower()
    for unwanted in ("Traceback", "this is a defect", "Errno", "Exception ignored"):
        assert unwanted not in ran.stderr


@pytest.mark.parametrize("words", {TABLE[words].place.partition(":")[0]: words for words in LEAVES}.values())
def test_a_command_whose_streams_are_closed_ends_with_its_status(elsewhere: Path, words: str) -> None:
    ran = shell(elsewhere, arguments_of(words), "<&- >&- 2>&-")
    assert ran.returncode in STATUSES
    assert ran.returncode != 0


INTERACTIVE = ["run -i app", "run app", "run -it app", "exec -it web sh", "debug web", "rm --all", "system prune"]


@pytest.mark.parametrize("words", INTERACTIVE)
def test_a_closed_input_is_at_its_end(elsewhere: Path, words: str) -> None:
    closed, empty = (shell(elsewhere, words.split(), redirection) for redirection in ("<&-", "</dev/null"))
    assert (closed.returncode, closed.stdout, closed.stderr) == (empty.returncode, empty.stdout, empty.stderr)


FULL = "error: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("words", ["--help", "--version", "image --help", "ps --help", "completion zsh"])
@pytest.mark.parametrize(
    ("redirection", "status", "said"),
    [
        (">/dev/full", 1, FULL),
        (">&-", 1, FULL.replace("No space left on device", "Bad file descriptor")),
        ("2>&-", 0, ""),
        ("2>/dev/full", 0, ""),
        ("| true", 0, ""),
    ],
)
def test_output_that_is_lost_is_told(elsewhere: Path, words: str, redirection: str, status: int, said: str) -> None:
    ran = shell(elsewhere, words.split(), redirection)
    assert (ran.returncode, ran.stderr) == (status, said)


LISTS = [("ps",), ("pods", "-o", "json"), ("images", "-q"), ("inspect", "web")]


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_a_list_that_does_not_fit_is_an_error(vmsandbox, words):  # type: ignore[no-untyped-def]
    vmsandbox.container(vmsandbox.pod("web"), "server")
    config = str(vmsandbox.directory / "config.yaml")
    line = shlex.join([sys.executable, "-c", MAIN, "--config", config, *words])
    ran = subprocess.run(f"{line} >/dev/full", shell=True, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (1, FULL)
    left = subprocess.run(f"{line} | true", shell=True, capture_output=True, text=True, check=False)
    assert left.stderr == ""


def test_a_character_that_the_output_does_not_have_is_shown_by_its_number(vmsandbox):  # type: ignore[no-untyped-def]
    vmsandbox.pod("web", annotations={"note": "\u20ac"}, labels={"app": "w\u00eb"})
    config = str(vmsandbox.directory / "config.yaml")
    line = [sys.executable, "-c", MAIN, "--config", config, "pods", "-o", "yaml"]
    ascii_only = {"PATH": os.environ["PATH"], "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    ran = subprocess.run(line, env=ascii_only, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "w\\xeb" in ran.stdout

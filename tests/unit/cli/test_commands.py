"""The command line without a daemon: help, errors, exit statuses, what programs read."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import grpc
import pytest
from click.testing import CliRunner

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.commands.pods.exec import exec_
from vmsandbox.cli.commands.pods.port_forward import Forwarding, parse
from vmsandbox.cli.main import main
from vmsandbox.cli.options import duration, size
from vmsandbox.cri.codes import error_of
from vmsandbox.errors import FailedPrecondition, NotFound


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Commands set up logging for their process; here it is that of all tests."""
    logger = logging.getLogger("vmsandbox")
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


COMMANDS = sorted(main.list_commands(click.Context(main)))


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["image", "build-guest"], ["image", "pull"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    shown = CliRunner().invoke(main, [*command, "--help"])
    assert shown.exit_code == 0
    assert "Usage: " in shown.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_completion_script(shell: str) -> None:
    assert "_VMSANDBOX_COMPLETE" in CliRunner().invoke(main, ["completion", shell]).output


def test_a_wrong_command_line_has_status_2() -> None:
    assert CliRunner().invoke(main, ["--no-such-option"]).exit_code == 2
    assert CliRunner().invoke(main, ["no-such-command"]).exit_code == 2


@pytest.mark.parametrize("command", [["pods"], ["ps"], ["events"], ["logs", "x"], ["exec", "x", "true"]])
def test_without_a_daemon_commands_say_so(
    command: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text(f"socket: {tmp_path}/absent.sock")
    ran = CliRunner().invoke(main, ["--config", str(tmp_path / "config.yaml"), *command])
    assert ran.exit_code == (execution.RUN_FAILED if command[0] == "exec" else execution.FAILED)
    assert "no daemon serves" in capfd.readouterr().err + ran.output


def test_a_wrong_configuration_is_an_error_with_its_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("\nmachine: {vcpu: 1}")
    ran = CliRunner().invoke(main, ["--config", str(tmp_path / "config.yaml"), "image", "list"])
    assert ran.exit_code == execution.FAILED
    assert "config.yaml:2: machine.vcpu" in capfd.readouterr().err + ran.output


def test_an_error_is_reported_whole_and_ends_with_its_status(capfd: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        raise NotFound("there is no [it]", hint="look elsewhere", evidence={"stderr": "nothing"})

    with pytest.raises(SystemExit) as ended:
        execution.run(work(), failed=7)
    assert ended.value.code == 7
    assert capfd.readouterr().err == "error: there is no [it]\nstderr:\n  nothing\ntry: look elsewhere\n"


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("container web: crun create: executable file `nope` not found in $PATH: No such file or directory", 127),
        ("crun exec: executable file `/no/such` not found: No such file or directory", 127),
        ("crun exec: cannot find `` in $PATH: No such file or directory", 127),
        ("crun exec: the path `/etc/passwd` exists but it is not executable: Operation not permitted", 126),
        ("crun exec: the path `/etc` is not a regular file: Operation not permitted", 126),
        ("crun exec: open `/proc/self/fd`: No such file or directory", execution.RUN_FAILED),
        ("image executable file `x` not found", execution.RUN_FAILED),
    ],
)
def test_a_command_that_is_not_there_has_the_status_that_shells_give_it(said: str, status: int) -> None:
    async def work() -> None:
        raise FailedPrecondition(said)

    for failed, expected in ((execution.RUN_FAILED, status), (execution.FAILED, execution.FAILED)):
        with pytest.raises(SystemExit) as ended:
            execution.run(work(), failed=failed)
        assert ended.value.code == expected


def test_a_defect_is_reported_without_a_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        raise KeyError("absent")

    with pytest.raises(SystemExit):
        execution.run(work())
    said = capfd.readouterr().err
    assert "this is a defect of vmsandbox: KeyError: 'absent'" in said
    assert "Traceback" not in said


def test_ctrl_c_cancels_the_work_each_time_it_comes() -> None:
    heard: list[str] = []

    async def work() -> None:
        for moment in ("first", "second"):
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
            try:
                await asyncio.sleep(10)
            except asyncio.CancelledError:
                heard.append(moment)
        raise asyncio.CancelledError

    with pytest.raises(SystemExit) as ended:
        execution.run(work())
    assert (ended.value.code, heard) == (130, ["first", "second"])


def test_ctrl_c_ends_a_run_that_waits_for_its_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pipe:
        def isatty(self) -> bool:
            return False

        def read(self) -> str:
            signal.raise_signal(signal.SIGINT)
            return ""

    monkeypatch.setattr(sys, "stdin", Pipe())
    with pytest.raises(click.Abort):  # What click makes of the handler that Python has while this test runs.
        main(["run", "-"], standalone_mode=False)


def test_a_run_whose_daemon_is_lost_says_how_its_pod_ends(vmsandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    from vmsandbox.cli.commands.run import run_pod

    async def lose(*_: object, **__: object) -> None:
        raise error_of(grpc.StatusCode.UNAVAILABLE, "Socket closed")

    monkeypatch.setattr(run_pod, "run_pod", lose)
    ran = vmsandbox("run", "--name", "web", "registry.example/app:1")
    assert ran.status == execution.RUN_FAILED
    assert "start it again" in ran.err and "`vmsandbox rm -f web` ends this pod then" in ran.err


def test_a_manifest_that_is_not_there_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    ran = CliRunner().invoke(main, ["run", "/nope.yaml"])
    assert ran.exit_code == execution.RUN_FAILED
    assert "error: /nope.yaml cannot be read" in capfd.readouterr().err + ran.output


def test_a_file_of_variables_that_is_not_there_is_told_with_its_option(capfd: pytest.CaptureFixture[str]) -> None:
    ran = CliRunner().invoke(main, ["run", "--dry-run", "--env-file", "/nope", "alpine"])
    assert ran.exit_code == execution.RUN_FAILED
    assert (
        "error: /nope cannot be read: No such file or directory\ntry: --env-file" in capfd.readouterr().err + ran.output
    )


def test_a_full_disk_is_told_as_that(capfd: pytest.CaptureFixture[str]) -> None:
    async def work() -> None:
        with open("/dev/full", "wb", buffering=0) as file:
            file.write(b"x")

    with pytest.raises(SystemExit):
        execution.run(work())
    assert capfd.readouterr().err.startswith("error: No space left on device\ntry: make room on the disks of")


def test_ctrl_c_after_the_work_changes_nothing() -> None:
    async def work() -> int:
        loop = asyncio.get_running_loop()
        close = loop.close

        def closing() -> None:
            close()
            signal.raise_signal(signal.SIGINT)

        loop.close = closing  # type: ignore[method-assign]
        return 7

    assert execution.run(work()) == 7


def test_ctrl_c_is_not_lost_where_python_ignores_exceptions() -> None:
    """Ctrl-C may arrive in callbacks of weak references; importing a module has some."""
    script = """
import signal, sys, types
from vmsandbox import __main__

class Interrupted:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

def command_line():
    Interrupted()
    print("went on")

sys.modules["vmsandbox.cli.main"] = types.SimpleNamespace(main=command_line)
__main__.main()
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")


def test_a_table_cuts_nothing_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table(("NAME", "STATE"), [("x" * 200, "[ready]"), ("y", "notready")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["x" * 200, "[ready]"]
    assert lines[0].index("STATE") == lines[2].index("notready")


@pytest.mark.parametrize(
    ("text", "forwarding"),
    [("8080", Forwarding(8080, 8080)), ("8080:80", Forwarding(8080, 80)), (":80", Forwarding(0, 80))],
)
def test_ports_are_written_as_for_kubectl(text: str, forwarding: Forwarding) -> None:
    assert parse(text) == forwarding


@pytest.mark.parametrize("text", ["", "web", "80:", "0", "1:70000", "-1:80", "1:2:3"])
def test_an_argument_that_is_not_a_port_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse(text)


def test_ages_and_sizes_are_read_by_people() -> None:
    assert [duration(seconds) for seconds in (5, 600, 36_000, 864_000)] == ["5s", "10m", "10h", "10d"]
    assert [size(count) for count in (5, 1500, 25_000_000, 3.2e12)] == ["5B", "1.5kB", "25MB", "3.2TB"]


def test_the_words_after_the_containers_name_are_the_commands() -> None:
    words = ["-i", "web", "grep", "-t", "--help", "-i", "root"]
    context = exec_.make_context("exec", words, resilient_parsing=False)
    assert context.params == {
        "stdin": True,
        "tty": False,
        "name": "web",
        "command": ("grep", "-t", "--help", "-i", "root"),
    }

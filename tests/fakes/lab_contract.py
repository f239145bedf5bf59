"""The contract of a connection to a host of the laboratory: one suite for the fake and for ssh."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from vmsandbox.errors import Unavailable
from vmsandbox.lab import Command, Connection, Stopping, Streams

WORDS = ("two words", "$(touch /tmp/x)", "`id`", "a;b", "'", '"', "\\", "*", "~", "", "new\nline", "ünï", "-n", "$HOME")
WAITING = "trap 'echo interrupted; exit 7' INT; echo ready; while :; do sleep 0.05; done"


class Ran:
    """A command that runs in a thread of its own."""

    def __init__(self, connection: Connection, command: Command) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self.stopping = Stopping()
        self.status: int | None = None
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(connection, command), daemon=True)
        self._thread.start()

    def _run(self, connection: Connection, command: Command) -> None:
        try:
            self.status = connection.run(command, Streams(self.stdout.extend, self.stderr.extend), self.stopping)
        except Exception as error:
            self.error = error

    def wait(self) -> "Ran":
        self._thread.join(20)
        assert not self._thread.is_alive(), (bytes(self.stdout), bytes(self.stderr))
        return self


def sh(script: str, *arguments: str, stdin: bytes = b"", cwd: str = "/") -> Command:
    return Command(("sh", "-c", script, "sh", *arguments), cwd, stdin)


class ConnectionContract:
    """Inherit from it, with the fixtures `connection`, and `vanish`, which breaks it."""

    def test_output_and_status_come_back_and_streams_stay_apart(self, connection: Connection) -> None:
        ran = Ran(connection, sh("echo one; echo two >&2; exit 3")).wait()
        assert (ran.status, bytes(ran.stdout), bytes(ran.stderr)) == (3, b"one\n", b"two\n")

    def test_no_word_of_a_command_means_anything_to_a_shell(self, connection: Connection) -> None:
        shown = "import sys; sys.stdout.write('\\0'.join(sys.argv[1:]))"
        ran = Ran(connection, Command(("python3", "-c", shown, *WORDS))).wait()
        assert bytes(ran.stdout).decode().split("\0") == list(WORDS)

    def test_standard_input_arrives_whole_and_is_on_no_command_line(
        self, connection: Connection, tmp_path: Path
    ) -> None:
        secret = b"hunter2-" + bytes(range(256)) * 8000
        script = "cat >\"$1\"; ! grep -sqz 'hunter2[-]' /proc/[0-9]*/cmdline"
        assert Ran(connection, sh(script, str(tmp_path / "kept"), stdin=secret)).wait().status == 0
        assert (tmp_path / "kept").read_bytes() == secret

    def test_a_command_may_leave_its_input_unread(self, connection: Connection) -> None:
        ran = Ran(connection, sh("echo done; exit 4", stdin=b"x" * 3_000_000)).wait()
        assert (ran.status, bytes(ran.stdout)) == (4, b"done\n")

    def test_much_output_comes_whole(self, connection: Connection) -> None:
        ran = Ran(connection, sh("head -c 5000000 /dev/zero; head -c 5000000 /dev/zero >&2")).wait()
        assert (ran.status, len(ran.stdout), len(ran.stderr)) == (0, 5_000_000, 5_000_000)

    def test_a_command_runs_where_it_is_told(self, connection: Connection, tmp_path: Path) -> None:
        assert bytes(Ran(connection, sh("pwd", cwd=str(tmp_path))).wait().stdout).decode().strip() == str(tmp_path)

    def test_what_cannot_start_has_status_127_and_a_reason(self, connection: Connection) -> None:
        ran = Ran(connection, Command(("/nowhere/program",))).wait()
        assert (ran.status, bytes(ran.stderr)) == (127, b"/nowhere/program: No such file or directory\n")
        ran = Ran(connection, Command(("true",), cwd="/nowhere")).wait()
        assert (ran.status, bytes(ran.stderr)) == (127, b"/nowhere: No such file or directory\n")

    def test_a_program_is_run_with_its_arguments(self, connection: Connection) -> None:
        text = "import sys\nprint(sys.argv[1:], __name__)\nsys.exit('it failed')"
        ran = Ran(connection, Command(("it", *WORDS), program=text)).wait()
        assert (ran.status, bytes(ran.stderr)) == (1, b"it failed\n")
        assert bytes(ran.stdout).decode() == f"{list(WORDS)} __main__\n"

    def test_a_program_ends_at_a_signal(self, connection: Connection) -> None:
        text = "import subprocess, sys\nprint('ready', flush=True)\nsubprocess.run(['sh', '-c', sys.argv[1]])"
        child = "sleep 600"
        ran = Ran(connection, Command(("it", child), program=text))
        eventually(lambda: b"ready" in ran.stdout)
        ran.stopping.ask()
        assert ran.wait().status == 128 + 15

    def test_a_signal_that_ends_a_command_is_in_its_status(self, connection: Connection) -> None:
        assert Ran(connection, sh("kill -9 $$")).wait().status == 128 + 9

    def test_ctrl_c_reaches_the_command_and_what_it_says_then_comes_back(self, connection: Connection) -> None:
        ran = Ran(connection, sh(WAITING))
        eventually(lambda: b"ready" in ran.stdout)
        ran.stopping.ask()
        assert ran.wait().status == 7
        assert bytes(ran.stdout) == b"ready\ninterrupted\n"

    def test_a_daemon_that_keeps_the_output_open_is_not_waited_for(self, connection: Connection) -> None:
        begin = time.monotonic()
        ran = Ran(connection, sh("setsid sleep 4 & echo started")).wait()
        assert (ran.status, bytes(ran.stdout)) == (0, b"started\n")
        assert time.monotonic() - begin < 3.5

    def test_commands_follow_each_other(self, connection: Connection) -> None:
        for number in (1, 2):
            assert Ran(connection, sh(f"exit {number}")).wait().status == number

    def test_a_broken_connection_is_an_error_and_ends_the_command_there(
        self, connection: Connection, vanish: Callable[[], None], tmp_path: Path
    ) -> None:
        # The shell says that `sleep` was ended, to nobody: without the first trap that is its own end.
        script = (
            f"trap '' PIPE; trap 'echo ended >{tmp_path}/ended; exit' TERM; echo ready; while :; do sleep 0.05; done"
        )
        ran = Ran(connection, sh(script))
        eventually(lambda: b"ready" in ran.stdout)
        vanish()
        assert isinstance(ran.wait().error, Unavailable), ran.error
        assert str(ran.error).startswith("the connection was lost")
        eventually((tmp_path / "ended").exists, timeout=10)
        with pytest.raises(Unavailable, match="the connection was lost"):
            connection.run(sh("true"), Streams(print, print), Stopping())

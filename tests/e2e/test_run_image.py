"""`vmsandbox run IMAGE` as a person and a script use it: a terminal, pipes, options, and the background."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.standins.images import BUSYBOX
from tests.support.pods import Node
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="machines and their networks need root"),
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("nothing_is_left_of_pods"),
]


@dataclass
class Person:
    """Types into a command through a terminal, and reads what it shows."""

    process: "subprocess.Popen[bytes]"
    terminal: int
    seen: bytearray = field(default_factory=bytearray)

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def sees(self, pattern: str, within: float = 120) -> None:
        """Wait for output that was not looked at before."""
        limit = time.monotonic() + within
        while not (match := re.search(pattern.encode(), self.seen)):
            left = limit - time.monotonic()
            assert left > 0, f"{pattern!r} did not come: {self.seen.decode()}"
            if select.select([self.terminal], [], [], left)[0]:
                with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
                    self.seen += os.read(self.terminal, 65536)
        del self.seen[: match.end()]


@contextlib.contextmanager
def at_a_terminal(node: Node, *words: str) -> Iterator[Person]:
    """A person who has typed a command into a shell."""
    ours, theirs = pty.openpty()
    command = ["setsid", "--ctty", *node.command("run", *words)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    try:
        yield Person(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        os.close(theirs)


def workers(node: Node) -> list[int]:
    """The processes of `vmsandbox run` that are there."""
    return [pid for pid in node.processes("python") if b"run" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]


def end(node: Node) -> None:
    """Ask the processes in the background to end, and wait until they have."""
    for pid in workers(node):
        os.kill(pid, signal.SIGTERM)
    eventually(lambda: not workers(node))


def test_a_person_works_in_a_container_by_a_terminal_and_lets_go_of_it(node: Node, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "given").write_text("from the host\n")
    options = ("-it", "--name", "shell", "-e", "WORD=a b", "-w", "/data", "-v", f"{tmp_path}:/data", "-u", "7:8")
    with at_a_terminal(node, *options, BUSYBOX, "sh") as person:
        before = termios.tcgetattr(person.terminal)
        person.sees(r"\$ ")
        person.resize(91, 33)
        person.type("until stty size | grep '33 91'; do sleep 0.1; done\r")
        person.type("id -u; id -g; pwd; cat given; echo [$WORD]; tty\r")
        person.sees(r"33 91\r\n")
        person.sees(r"7\r\n8\r\n/data\r\nfrom the host\r\n\[a b\]\r\n/dev/pts/0\r\n")
        person.type("echo begins; sleep 1000\r")
        person.sees(r"begins\r\n")
        time.sleep(2)
        person.type("\x03")
        person.type("echo $((2 + 40))\r")
        person.sees(r"42\r\n")
        assert termios.tcgetattr(person.terminal) != before, "keys come as they are pressed"
        person.type("\x10\x11")
        person.sees("pod default/shell runs on")
        assert person.process.wait(20) == 0
        assert termios.tcgetattr(person.terminal) == before
        assert workers(node), "it goes on in the background"
        assert node.processes("qemu")
    assert node.processes("qemu"), "the end of the terminal does not end it"
    end(node)


def has_no_network_and_is_reached_all_the_same(node: Node, pod: str, data: str) -> None:
    """The machine has no network device, the host nothing of a network; a port on its localhost can be forwarded."""
    assert node.vmsandbox("exec", pod, "ls", "/sys/class/net").stdout == "lo\n"
    assert node.vmsandbox("exec", pod, "cat", "/etc/hosts").stdout.splitlines()[-1] == f"127.0.0.1\t{pod}"
    assert not list(node.directory.glob("state/network/attachments/*"))
    (listed,) = json.loads(node.vmsandbox("pods", "-o", "json").stdout)
    assert listed["addresses"] == []
    with subprocess.Popen(node.command("port-forward", pod, ":8000"), stderr=subprocess.PIPE, text=True) as forward:
        assert forward.stderr
        address = forward.stderr.readline().split()[0]
        try:
            with urllib.request.urlopen(f"http://{address}/data", timeout=60) as answer:
                assert answer.read().decode() == data
        finally:
            forward.terminate()


def test_what_is_piped_comes_back_and_a_volume_keeps_it_for_a_pod_in_the_background(node: Node) -> None:
    data = "".join(f"{number:0100d}\n" for number in range(20_000))
    script = "tee /kept/data; touch /x || exit 3"
    ran = node.vmsandbox(
        "run", "-i", "--rm", "--read-only", "-v", "kept:/kept", BUSYBOX, "sh", "-c", script, stdin=data
    )
    assert ran.stdout == data
    assert ran.status == 3, "that of the container"
    assert "Read-only file system" in ran.stderr
    assert "booted in" not in ran.stderr

    reading = ("sh", "-c", "wc -c </kept/data; exec httpd -f -p 127.0.0.1:8000 -h /kept")
    ran = node.vmsandbox("run", "-d", "--name", "web", "--network", "none", "-v", "kept:/kept:ro", BUSYBOX, *reading)
    assert (ran.status, ran.stdout) == (0, "web\n"), ran.stderr
    eventually(lambda: node.vmsandbox("logs", "web").stdout == f"{len(data)}\n")
    has_no_network_and_is_reached_all_the_same(node, "web", data)
    refused = node.vmsandbox("volume", "remove", "kept")
    assert (refused.status, "in use" in refused.stderr) == (1, True)
    taken = node.vmsandbox("run", "--name", "web", BUSYBOX, "true")
    assert (taken.status, "there is a pod default/web" in taken.stderr) == (125, True)
    assert node.vmsandbox("stop", "--timeout", "1", "web").status == 0
    eventually(lambda: not workers(node))
    assert node.vmsandbox("volume", "list", "-q").stdout == "kept\n"
    assert node.vmsandbox("volume", "remove", "kept").status == 0
    assert node.vmsandbox("volume", "list", "-q").stdout == ""


def test_what_cannot_run_in_the_background_is_told_at_once(node: Node) -> None:
    ran = node.vmsandbox("run", "-d", "--pull", "never", "docker.io/library/absent")
    assert ran.status == 125
    assert "is not in the store" in ran.stderr
    assert not workers(node)

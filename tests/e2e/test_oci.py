"""podman with `vmsandbox-oci`: its containers are in machines of the daemon."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standins.images import BUSYBOX
from tests.support.conformance import Serving
from tests.support.conformance_client import eventually
from tests.support.podman import Podman, cgroups_of_containers
from tests.support.ready_network import ready_network

HOST_KERNEL = os.uname().release
_NUMBER = os.getpid() % 250
NAMESPACE = f"vmsoci{_NUMBER}"
"""The name of a network namespace, and of the host's end of the wire into it."""
HOST, GUEST = f"10.199.{_NUMBER}.1", f"10.199.{_NUMBER}.2"

LOOP = """
echo started; echo warned >&2; echo written >/file
trap 'echo stopping; exit 5' TERM
while :; do sleep 0.1; done
"""


@pytest.fixture(scope="module", autouse=True)
def cgroups() -> set[Path]:
    """The cgroups that there were before."""
    return cgroups_of_containers()


@pytest.fixture(scope="module")
def network() -> Iterator[str]:
    with ready_network(NAMESPACE, HOST, GUEST) as path:
        yield path


@pytest.fixture(scope="module")
def web(podman: Podman, network: str) -> Iterator[str]:
    """A container that runs in the background."""
    podman.output("run", "-d", "--name", "web", "--network", f"ns:{network}", BUSYBOX, "sh", "-c", LOOP)
    eventually(lambda: "started" in podman.output("logs", "web"))
    yield "web"
    podman.output("rm", "--force", "--time", "0", "web")


def test_a_container_runs_in_a_machine_with_its_streams_its_volume_and_its_exit_status(
    podman: Podman, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    script = "cat; uname -r; id -u; hostname; echo wrong >&2; cat /v/in >/v/out; ls /sys/class/net; exit 3"
    (tmp_path / "in").write_text("volume\n")
    options = ("--network", "none", "--user", "1000:1000", "--hostname", "one", "-v", f"{tmp_path}:/v")
    done = podman.run("run", "--rm", "-i", *options, BUSYBOX, "sh", "-c", script, stdin="typed\n")
    typed, kernel, *rest = done.stdout.splitlines()
    assert (done.returncode, done.stderr, typed, rest) == (3, "wrong\n", "typed", ["1000", "one", "lo"])
    assert kernel != HOST_KERNEL
    assert ((tmp_path / "out").read_text(), (tmp_path / "out").stat().st_uid) == ("volume\n", 1000)


def test_a_container_at_a_terminal_has_its_size_and_its_keys(podman: Podman) -> None:
    with podman.at_terminal("run", "--rm", "-it", "--network", "none", BUSYBOX, "sh") as terminal:
        terminal.until("# ")
        terminal.type("test -t 0 && test -t 1 && stty rows 33 && stty size\n")
        terminal.until("\r\n33 ")
        terminal.type("sh -c 'echo sleeping; exec sleep 1000'\n")
        terminal.until("sleeping\r\n")  # Before, the shell that reads the line would take the key itself.
        terminal.type("\x03")
        terminal.until("# ")
        terminal.type("exit 4\n")
        terminal.until("exit 4\r\n")
        assert terminal.wait() == 4


def test_a_container_that_takes_too_much_memory_is_told_as_such(podman: Podman) -> None:
    done = podman.run("run", "--name", "greedy", "-m", "64m", "--network", "none", BUSYBOX, "tail", "/dev/zero")
    assert done.returncode == 137
    assert podman.output("inspect", "greedy", "--format", "{{.State.OOMKilled}}") == "true\n"
    podman.output("rm", "greedy")


def test_links_and_attributes_of_the_root_are_kept_and_the_shared_memory_has_its_size(podman: Podman) -> None:
    script = "ln /etc/passwd /linked; chown 7:8 /linked; chmod 4755 /linked; df -k /dev/shm | tail -n 1"
    said = podman.output("run", "--name", "kept", "--network", "none", "--shm-size", "20m", BUSYBOX, "sh", "-c", script)
    assert said.split()[1] == str(20 * 1024)
    with podman.mounted("kept") as root:
        linked = (root / "linked").stat()
        assert (linked.st_uid, linked.st_gid, linked.st_mode & 0o7777) == (7, 8, 0o4755)
        assert linked.st_nlink == 2 and linked.st_ino == (root / "etc/passwd").stat().st_ino
    podman.output("rm", "kept")


def test_a_capability_that_a_file_of_the_root_has_counts(podman: Podman) -> None:
    """Capabilities are extended attributes. Without one a user may not ping: the sysctl gives that to no group."""
    options = ("--network", "none", "--user", "1000", "--sysctl", "net.ipv4.ping_group_range=1 0")
    podman.output("create", "--name", "pings", *options, BUSYBOX, "ping", "-c", "1", "-W", "20", "127.0.0.1")
    with podman.mounted("pings") as root:
        subprocess.run(["setcap", "cap_net_raw+ep", root / "bin/ping"], check=True)
    assert "1 packets received" in podman.output("start", "--attach", "pings")
    podman.output("rm", "pings")


def test_output_is_in_the_logs(podman: Podman, web: str) -> None:
    logged = podman.run("logs", web)
    assert (logged.stdout, logged.stderr) == ("started\n", "warned\n")


def test_a_command_runs_in_a_container_with_its_own_exit_status(podman: Podman, web: str) -> None:
    done = podman.run(
        "exec", "-i", "-e", "A=b", "--user", "7:8", web, "sh", "-c", "cat; id -u; echo $A; exit 9", stdin="x\n"
    )
    assert (done.returncode, done.stdout) == (9, "x\n7\nb\n")
    assert podman.run("exec", web, "nothing-of-this-name").returncode == 127


def test_a_command_runs_at_a_terminal(podman: Podman, web: str) -> None:
    with podman.at_terminal("exec", "-it", web, "sh", "-c", "tty; read line; echo said $line; exit 6") as terminal:
        terminal.until("/dev/pts/")
        terminal.type("hello\n")
        terminal.until("said hello\r\n")
        assert terminal.wait() == 6


def test_the_network_namespace_of_the_caller_is_the_machines(podman: Podman, web: str) -> None:
    assert f"inet {GUEST}/24" in podman.output("exec", web, "ip", "address", "show", "eth0")
    podman.output("exec", web, "ping", "-c", "1", "-W", "20", HOST)


def test_what_a_container_has_written_is_in_the_directory_of_the_host(podman: Podman, web: str, tmp_path: Path) -> None:
    assert "A /file" in podman.output("diff", web)
    podman.output("cp", f"{web}:/file", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "written\n"


def test_a_container_is_paused_and_its_processes_do_nothing_meanwhile(podman: Podman, web: str) -> None:
    ticks = "cut -d' ' -f14,15 /proc/1/stat"
    podman.output("pause", web)
    assert podman.output("inspect", web, "--format", "{{.State.Status}}") == "paused\n"
    assert podman.run("exec", web, "true").returncode != 0
    podman.output("unpause", web)
    before = podman.output("exec", web, "sh", "-c", ticks)
    eventually(lambda: podman.output("exec", web, "sh", "-c", ticks) != before)
    podman.output("commit", "--pause", web, "paused")
    podman.output("rmi", "paused")


def test_limits_are_changed_in_the_guest(podman: Podman, web: str) -> None:
    podman.output("update", "--memory", "96m", "--cpus", "0.5", web)
    podman.oci("update", "--pids-limit", "99", podman.output("inspect", web, "--format", "{{.Id}}").strip())
    limits = podman.output("exec", web, "cat", *(f"/sys/fs/cgroup/{name}.max" for name in ("memory", "cpu", "pids")))
    assert limits.splitlines() == [str(96 << 20), "50000 100000", "99"]


def test_the_processes_and_the_usage_of_a_container_are_told(podman: Podman, web: str) -> None:
    container = podman.output("inspect", web, "--format", "{{.Id}}").strip()
    pid = int(podman.output("inspect", web, "--format", "{{.State.Pid}}"))
    assert pid in json.loads(podman.oci("ps", "--format", "json", container))
    header, first, *_ = podman.oci("ps", container).splitlines()
    assert header.split()[:3] == ["UID", "PID", "PPID"] and first.split()[:3] == ["0", "1", "0"]
    told = json.loads(podman.oci("events", "--stats", container))
    assert 0 < told["data"]["memory"]["usage"]["usage"] < 96 << 20 and told["data"]["cpu"]["usage"]["total"] > 0


def test_the_machine_is_counted_where_the_caller_looks(podman: Podman, web: str) -> None:
    [measured] = json.loads(podman.output("stats", "--no-stream", "--format", "json", web))
    assert measured["mem_usage"].startswith(("1", "2", "3", "4")) and "MB" in measured["mem_usage"], measured


def test_stopping_lets_a_container_end_and_it_can_be_started_again(podman: Podman, web: str) -> None:
    podman.output("stop", "--time", "60", web)
    assert podman.output("inspect", web, "--format", "{{.State.Status}} {{.State.ExitCode}}") == "exited 5\n"
    assert podman.output("logs", web).splitlines()[-1] == "stopping"
    podman.output("start", web)
    eventually(lambda: podman.output("logs", web).count("started") == 2)


def test_a_container_whose_process_on_the_host_is_killed_ends(podman: Podman, web: str) -> None:
    os.kill(int(podman.output("inspect", web, "--format", "{{.State.Pid}}")), signal.SIGKILL)
    eventually(lambda: podman.output("inspect", web, "--format", "{{.State.ExitCode}}") == "137\n")


def test_a_container_of_the_hosts_network_is_refused_and_told_why(podman: Podman) -> None:
    done = podman.run("run", "--rm", "--network", "host", BUSYBOX, "true")
    assert done.returncode == 126 and "the host's network namespace" in done.stderr


def test_nothing_is_left(cgroups: set[Path], podman: Podman, daemon: Serving) -> None:
    podman.output("rm", "--all", "--force", "--time", "0")
    eventually(lambda: podman.processes() == [])
    assert list((daemon.directory / "run").rglob("sandboxes/*")) == []
    assert cgroups_of_containers() - cgroups == set()

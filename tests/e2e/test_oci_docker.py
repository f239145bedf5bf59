"""Docker with `vmsandbox-oci`: it puts the interfaces of a container into its network namespace late."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.conformance import Serving
from tests.support.conformance_client import eventually
from tests.support.docker import DOCKERD, IMAGE, Docker, running_docker

HOST_KERNEL = os.uname().release

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="machines and their networks need root"),
    pytest.mark.skipif(DOCKERD is None, reason="there is no Docker here"),
    pytest.mark.timeout(600),
]


@pytest.fixture(scope="module")
def docker(daemon: Serving) -> Iterator[Docker]:
    directory = daemon.directory / "docker"
    directory.mkdir()
    with running_docker(directory, daemon.directory / "run/oci.sock", daemon.directory / "registries.conf") as made:
        yield made


@pytest.fixture(scope="module")
def server(docker: Docker) -> Iterator[str]:
    """A container on a bridge network, that answers at port 80."""
    docker.output("network", "create", "--subnet", "10.194.7.0/24", "both")
    script = "mkdir /www; echo answer >/www/index.html; echo serving; exec httpd -f -h /www"
    docker.output("run", "-d", "--name", "server", "--network", "both", IMAGE, "sh", "-c", script)
    eventually(lambda: "serving" in docker.output("logs", "server"))
    yield "server"
    docker.output("rm", "--force", "server")
    docker.output("network", "rm", "both")


def test_a_container_runs_in_a_machine_with_its_streams_and_its_exit_status(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("volume\n")
    script = "cat; uname -r; cat /v/in; hostname; echo wrong >&2; exit 3"
    done = docker.run(
        "run", "--rm", "-i", "--hostname", "one", "-v", f"{tmp_path}:/v", IMAGE, "sh", "-c", script, stdin="typed\n"
    )
    typed, kernel, *rest = done.stdout.splitlines()
    assert (done.returncode, done.stderr, typed, rest) == (3, "wrong\n", "typed", ["volume", "one"])
    assert kernel != HOST_KERNEL


def test_a_container_at_a_terminal_has_its_keys_and_its_exit_status(docker: Docker) -> None:
    with docker.at_terminal("run", "--rm", "-it", "--network", "none", IMAGE, "sh") as terminal:
        terminal.until("# ")
        terminal.type("test -t 0 && ls /sys/class/net && echo at a $((40 + 2)) terminal\n")
        terminal.until("lo")
        terminal.until("at a 42 terminal\r\n")
        terminal.type("exit 4\n")
        terminal.until("exit 4\r\n")
        assert terminal.wait() == 4


def test_containers_on_a_bridge_network_talk(docker: Docker, server: str) -> None:
    [inspected] = json.loads(docker.output("inspect", server))
    network = inspected["NetworkSettings"]["Networks"]["both"]
    assert network["MacAddress"] in docker.output("exec", server, "cat", "/sys/class/net/eth0/address")
    fetched = docker.output(
        "run", "--rm", "--network", "both", IMAGE, "wget", "-qO-", f"http://{network['IPAddress']}/"
    )
    assert fetched == "answer\n"


def test_a_command_runs_in_a_container_with_its_own_exit_status(docker: Docker, server: str) -> None:
    done = docker.run("exec", "-i", "-e", "A=b", server, "sh", "-c", "cat; echo $A; exit 9", stdin="x\n")
    assert (done.returncode, done.stdout) == (9, "x\nb\n")
    assert docker.run("exec", server, "nothing-of-this-name").returncode == 126  # as with runc, in this version
    with docker.at_terminal("exec", "-it", server, "sh", "-c", "tty; exit 6") as terminal:
        terminal.until("/dev/pts/")
        assert terminal.wait() == 6


def test_a_container_is_paused_updated_and_listed(docker: Docker, server: str) -> None:
    docker.output("pause", server)
    assert docker.output("inspect", server, "--format", "{{.State.Status}}") == "paused\n"
    docker.output("unpause", server)
    docker.output("update", "--memory", "96m", "--memory-swap", "96m", server)
    assert docker.output("exec", server, "cat", "/sys/fs/cgroup/memory.max") == f"{96 << 20}\n"
    assert "vmsandbox-oci" in docker.output("top", server, "-eww", "-o", "pid,args")


def test_a_container_that_fails_is_restarted_as_its_policy_says(docker: Docker) -> None:
    docker.output("run", "-d", "--name", "fails", "--restart", "on-failure:1", IMAGE, "sh", "-c", "echo ran; exit 5")
    assert docker.output("wait", "fails") == "5\n"
    eventually(
        lambda: docker.output("inspect", "fails", "--format", "{{.RestartCount}} {{.State.Status}}") == "1 exited\n"
    )
    assert docker.output("logs", "fails") == "ran\nran\n"
    docker.output("rm", "fails")


def test_a_program_that_is_missing_is_127(docker: Docker) -> None:
    done = docker.run("run", "--rm", IMAGE, "nothing-of-this-name")
    assert done.returncode == 127, done.stderr


def test_a_container_that_cannot_be_started_leaves_nothing(docker: Docker, server: str) -> None:
    """A machine has one network, which Docker learns at the start; its shim goes when the container has ended."""
    docker.output("create", "--name", "two", IMAGE, "true")
    docker.output("network", "connect", "both", "two")
    failed = docker.run("start", "two")
    assert failed.returncode == 1 and "has 2 interfaces" in failed.stderr
    docker.output("rm", "two")
    eventually(lambda: shims(docker) == 1)


def shims(docker: Docker) -> int:
    """Return how many shims run: one for each container that does."""
    found = subprocess.run(["pgrep", "-f", f"shim.*{docker.directory}"], check=False, capture_output=True, text=True)
    return len(found.stdout.split())


def test_nothing_is_left(docker: Docker, daemon: Serving) -> None:
    docker.remove_all()
    eventually(lambda: shims(docker) == 0)
    assert list((daemon.directory / "run").rglob("sandboxes/*")) == []

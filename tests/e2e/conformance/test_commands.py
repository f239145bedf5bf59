"""The command line against a daemon: what a person does with a running pod all day."""

import json
import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.standins.images import BUSYBOX
from tests.support.conformance import Serving
from tests.support.conformance_client import Container, Pod, eventually

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def vmsandbox(daemon: Serving) -> Run:
    def run(*arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        line = daemon.command_line(*arguments)
        return subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=120, check=False)

    return run


@contextmanager
def started(daemon: Serving, *arguments: str) -> "Iterator[subprocess.Popen[str]]":
    line = daemon.command_line(*arguments)
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def test_pods_and_containers_are_listed_for_people_and_programs(vmsandbox: Run, pod: Pod, waiting: Container) -> None:
    assert pod.id[:13] in vmsandbox("pods").stdout
    listed = json.loads(vmsandbox("ps", "--output", "json").stdout)
    assert waiting.id in [container["id"] for container in listed]
    assert BUSYBOX.rpartition(":")[0] in vmsandbox("images").stdout
    (shown,) = [one for one in json.loads(vmsandbox("pods", "-o", "json").stdout) if one["id"] == pod.id]
    assert shown["state"] == "READY"
    assert shown["addresses"]


def test_version_and_info_tell_what_runs_machines(vmsandbox: Run, waiting: Container) -> None:
    versions = json.loads(vmsandbox("version", "-o", "json").stdout)
    assert all(versions.values()), versions
    daemon = json.loads(vmsandbox("info", "-o", "json").stdout)["daemon"]
    assert daemon["accelerators"][""] in ("kvm", "tcg")
    assert daemon["containers"]["RUNNING"] >= 1


def test_a_signal_reaches_a_containers_first_process_without_a_program_in_its_image(vmsandbox: Run, pod: Pod) -> None:
    container = pod.start("sh", "-c", "trap 'echo told; exit 7' HUP; echo ready; while true; do sleep 0.1; done")
    eventually(lambda: "ready" in vmsandbox("logs", container.id).stdout)
    assert vmsandbox("kill", "-s", "HUP", container.id).returncode == 0
    assert eventually(lambda: vmsandbox("logs", container.id).stdout == "ready\ntold\n")
    (ended,) = json.loads(vmsandbox("inspect", container.id).stdout)
    assert (ended["status"]["state"], ended["status"]["exitCode"]) == ("EXITED", 7)


def test_files_are_copied_in_and_out(vmsandbox: Run, waiting: Container, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "large").write_bytes(os.urandom(3_000_000))
    (tree / "tool").write_text("#!/bin/sh\n")
    (tree / "tool").chmod(0o755)
    name = waiting.id[:20]
    copied = vmsandbox("cp", str(tree), f"{name}:/tmp")
    assert copied.returncode == 0, copied.stderr
    assert waiting.output("stat", "-c", "%a %u", "/tmp/tree/tool") == "755 0\n"
    back = vmsandbox("cp", f"{name}:/tmp/tree", str(tmp_path / "back"))
    assert back.returncode == 0, back.stderr
    assert (tmp_path / "back" / "sub" / "large").read_bytes() == (tree / "sub" / "large").read_bytes()
    one = vmsandbox("cp", f"{name}:/tmp/tree/tool", str(tmp_path))
    assert (one.returncode, (tmp_path / "tool").read_text()) == (0, "#!/bin/sh\n"), one.stderr
    missing = vmsandbox("cp", f"{name}:/nope", str(tmp_path))
    assert missing.returncode == 1
    assert "nope" in missing.stderr


def test_processes_and_their_use_are_shown(vmsandbox: Run, waiting: Container) -> None:
    processes = json.loads(vmsandbox("top", waiting.id, "-o", "json").stdout)
    assert 1 in [process["pid"] for process in processes]
    used = {one["id"]: one for one in json.loads(vmsandbox("stats", "-o", "json").stdout)}[waiting.id]
    assert used["memory"] > 0
    assert used["processes"] >= 1
    assert used["cpuPercent"] is not None


def test_inspect_finds_pods_containers_and_images(vmsandbox: Run, pod: Pod, waiting: Container) -> None:
    for name in (pod.id, waiting.id[:20], BUSYBOX):
        found = vmsandbox("inspect", name)
        assert found.returncode == 0, found.stderr
        assert json.loads(found.stdout)
    assert vmsandbox("inspect", "nothing-of-that-name").returncode == 1


def test_exec_has_the_commands_output_and_exit_code(vmsandbox: Run, waiting: Container) -> None:
    ran = vmsandbox("exec", waiting.id, "sh", "-c", "echo out; echo err >&2; exit 5")
    assert (ran.returncode, ran.stdout, ran.stderr) == (5, "out\n", "err\n")


def test_exec_passes_its_input_and_the_end_of_it(vmsandbox: Run, waiting: Container) -> None:
    text = "".join(f"{number}\n" for number in range(100_000))
    assert vmsandbox("exec", "-i", waiting.id, "cat", stdin=text).stdout == text


def test_a_command_that_is_not_there_has_status_125_or_127(vmsandbox: Run, waiting: Container) -> None:
    ran = vmsandbox("exec", waiting.id, "no-such-command")
    assert ran.returncode in (125, 127)
    assert "no-such-command" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_terminal_has_its_size_and_ctrl_c_reaches_the_command(daemon: Serving, waiting: Container) -> None:
    ours, theirs = pty.openpty()
    os.set_blocking(ours, True)
    script = "trap 'echo interrupted; exit 3' INT; stty size; echo ready; while true; do sleep 0.1; done"
    line = daemon.command_line("exec", "-it", waiting.id, "sh", "-c", script)
    environment = {**os.environ, "COLUMNS": "77", "LINES": "33"}
    with subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        seen = b""
        while b"ready" not in seen:
            seen += os.read(ours, 1024)
        os.write(ours, b"\x03")
        assert process.wait(60) == 3
        seen += os.read(ours, 1024)
    os.close(ours)
    assert b"interrupted" in seen


def test_logs_follow_a_container_to_its_end(daemon: Serving, vmsandbox: Run, pod: Pod) -> None:
    container = pod.start("sh", "-c", "for i in 1 2 3; do echo line $i; sleep 1; done; echo error >&2")
    with started(daemon, "logs", "-f", container.id) as following:
        assert following.wait(60) == 0
        assert following.stdout is not None
        assert following.stderr is not None
        assert following.stdout.read().splitlines() == ["line 1", "line 2", "line 3"]
        assert following.stderr.read() == "error\n"
    assert vmsandbox("logs", "--tail", "1", container.id).stderr == "error\n"
    assert vmsandbox("logs", "--since", "1h", container.id).stdout.count("line") == 3


def test_two_attach_and_both_see_the_output(daemon: Serving, pod: Pod) -> None:
    container = pod.start("sh", "-c", "while [ ! -e /go ]; do echo wait; sleep 0.1; done; echo for both; exit 4")
    with started(daemon, "attach", container.id) as first, started(daemon, "attach", container.id) as second:
        for attached in (first, second):
            assert attached.stdout is not None
            assert attached.stdout.readline() == "wait\n", "it is not attached"
        container.exec("touch", "/go")
        for attached in (first, second):
            assert attached.wait(60) == 4
            assert attached.stdout is not None
            assert attached.stdout.read().replace("wait\n", "") == "for both\n"


def test_letting_go_of_a_container_ends_nothing(daemon: Serving, waiting: Container) -> None:
    with started(daemon, "attach", waiting.id) as attached:
        time.sleep(2)
        attached.send_signal(signal.SIGINT)
        assert attached.wait(30) == 130
    assert waiting.output("echo", "still there") == "still there\n"


def test_a_port_of_the_pods_localhost_is_reached(daemon: Serving, pod: Pod) -> None:
    pod.start("sh", "-c", "echo over localhost >/page; httpd -f -p 127.0.0.1:5001 -h /")
    with started(daemon, "port-forward", pod.id, ":5001") as forward:
        assert forward.stderr is not None
        host, _, port = forward.stderr.readline().split()[0].rpartition(":")

        def page() -> bytes | None:
            with socket.create_connection((host, int(port)), timeout=30) as connection:
                connection.sendall(b"GET /page HTTP/1.0\r\n\r\n")
                return connection.makefile("rb").read() or None

        assert eventually(page).endswith(b"\r\n\r\nover localhost\n")


def test_a_port_where_nobody_listens_is_said(daemon: Serving, pod: Pod) -> None:
    with started(daemon, "port-forward", pod.id, ":9") as forward:
        assert forward.stderr is not None
        host, _, port = forward.stderr.readline().split()[0].rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            assert connection.recv(1) == b""
        assert "port 9" in forward.stderr.readline()


def test_stop_and_rm_of_a_container(vmsandbox: Run, pod: Pod) -> None:
    container = pod.start("sleep", "1000")
    refused = vmsandbox("rm", container.id)
    assert refused.returncode == 1
    assert "vmsandbox stop" in refused.stderr
    assert vmsandbox("stop", "--timeout", "0", container.id).returncode == 0
    assert vmsandbox("rm", container.id).returncode == 0
    assert container.id not in vmsandbox("ps", "--all", "--output", "json").stdout


def test_run_has_the_daemon_run_the_pod(daemon: Serving, vmsandbox: Run) -> None:
    script = "echo in a machine of the daemon; exit 6"
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "ran"},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "one", "image": BUSYBOX, "command": ["sh", "-c", script]}],
        },
    }
    with started(daemon, "events") as events:
        ran = vmsandbox("run", "--timings", "-", stdin=yaml.safe_dump(manifest))
        events.terminate()
        assert events.stdout is not None
        assert "started" in events.stdout.read()
    assert (ran.returncode, ran.stdout) == (6, "one | in a machine of the daemon\n"), ran.stderr
    assert "Linux 6." in ran.stderr
    assert "ran" not in vmsandbox("pods").stdout


def test_inspect_tells_where_a_machine_is_and_which_limits_hold(vmsandbox: Run, pod: Pod, waiting: Container) -> None:
    found, container = json.loads(vmsandbox("inspect", pod.id, waiting.id).stdout)
    info = found["info"]
    assert Path(f"/proc/{info['machine']['qemuPid']}/comm").read_text().startswith("qemu-system-")
    names = {process["name"] for process in info["processes"]}
    assert any(name.startswith("qemu-system-") for name in names) and "virtiofsd" in names
    (cgroup,) = {process["cgroup"] for process in info["processes"]}
    own = info["cgroups"][0]
    assert own["path"] == cgroup and pod.id in cgroup
    assert info["machine"]["memory"] < own["memoryLimit"] and 0 < own["memory"] <= own["memoryLimit"]
    moments = [moment for moment in info["startTimings"].values() if moment is not None]
    assert len(moments) == 6 and moments == sorted(moments)
    assert all(container["info"]["startTimings"].values())


def test_a_command_runs_in_the_guest_itself_where_that_is_allowed(vmsandbox: Run, privileged_pod: Pod) -> None:
    (kernel, agent, code) = (
        vmsandbox("debug", privileged_pod.id, "dmesg"),
        vmsandbox("debug", privileged_pod.id, "sh", "-c", "tr '\\0' ' ' </proc/1/cmdline; ip -o link"),
        vmsandbox("debug", privileged_pod.id, stdin="echo $((6 * 7))\nexit 5\n"),
    )
    assert "Linux version" in kernel.stdout
    assert "python3" in agent.stdout and "eth0" in agent.stdout
    assert (code.returncode, code.stdout) == (5, "42\n")


def test_a_guest_does_not_fill_the_tables_of_its_scratch_disk(vmsandbox: Run, privileged_pod: Pod) -> None:
    mounted = vmsandbox("debug", privileged_pod.id, "grep", "/run/vmsandbox/scratch ", "/proc/mounts")
    assert " ext4 " in mounted.stdout and "noinit_itable" in mounted.stdout


def test_a_shell_in_the_guest_itself_has_a_terminal(daemon: Serving, privileged_pod: Pod) -> None:
    master, node = pty.openpty()
    line = daemon.command_line("debug", privileged_pod.id)
    with subprocess.Popen(line, stdin=node, stdout=node, stderr=node, start_new_session=True) as process:
        os.close(node)
        seen = read_until(master, b"[guest of ")
        os.write(master, b"tty; exit 7\n")
        seen = read_until(master, b"/dev/pts/", seen)
        assert process.wait(60) == 7
    os.close(master)


def read_until(terminal: int, text: bytes, seen: bytes = b"") -> bytes:
    """Read a terminal until it has shown a text."""
    while text not in seen:
        seen += os.read(terminal, 4096)
    return seen


def test_where_commands_in_the_guest_are_off_the_error_names_the_setting(vmsandbox: Run, pod: Pod) -> None:
    refused = vmsandbox("debug", pod.id, "true")
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "set machine.debug to true in config.yaml" in refused.stderr

"""The command itself, as a caller runs it, against a door whose containers are processes of this host.

It makes namespaces, so that most of it needs root.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.fakes.oci_runtime import OciRuntime
from tests.support.waiting import until
from tests.unit.oci.configs import config
from tests.unit.oci_command.caller import CHECKOUT, Caller, exit_status, needs_root
from vmsandbox.model import ContainerState
from vmsandbox.oci import serving_oci


@needs_root
async def test_a_container_goes_through_its_states_and_its_process_ends_as_it_does(caller: Caller) -> None:
    pid = await caller.create("sh", "-c", "echo out; echo err >&2; exit 7")
    created = await caller.state()
    assert (created["status"], created["pid"], created["id"]) == ("created", pid, "c1")
    assert created["annotations"] == config()["annotations"] and created["bundle"] == str(caller.directory)
    assert (await caller.run("start", "c1"))[0] == 0
    assert await exit_status(pid) == 7
    assert ((await caller.state())["status"], (await caller.state())["pid"]) == ("stopped", 0)
    assert await caller.run("kill", "c1", "TERM") == (1, "", caller.printed("err"))
    assert "container not running" in caller.printed("err")
    assert await caller.run("delete", "c1") == (0, "", "")
    assert await caller.run("delete", "c1") == (1, "", "container does not exist: c1\n")
    assert await caller.run("delete", "--force", "c1") == (0, "", "")


@needs_root
async def test_streams_are_the_callers_own(caller: Caller) -> None:
    reading, writing = os.pipe()
    pid_file = str(caller.directory / "pid")
    bundle = caller.bundle("sh", "-c", "cat; echo end >&2")
    assert (await caller.run("create", "--bundle", bundle, "--pid-file", pid_file, "c1", stdin=reading))[0] == 0
    os.close(reading)
    out, err = caller.directory / "out", caller.directory / "err"
    kept = out.rename(caller.directory / "out-1"), err.rename(caller.directory / "err-1")
    assert (await caller.run("start", "c1"))[0] == 0
    os.write(writing, b"typed")
    os.close(writing)
    assert await exit_status(int(Path(pid_file).read_text())) == 0
    assert [path.read_text() for path in kept] == ["typed", "end\n"]


@needs_root
async def test_a_signal_to_the_process_is_the_containers(caller: Caller, runtime: OciRuntime) -> None:
    pid = await caller.create("sleep", "1000")
    assert (await caller.run("start", "c1"))[0] == 0
    os.kill(pid, signal.SIGTERM)
    assert await exit_status(pid) == 128 + signal.SIGTERM
    [status] = runtime.containers.values()
    assert status.state is ContainerState.EXITED


@needs_root
async def test_a_terminal_is_given_to_the_caller_who_sets_its_size(caller: Caller, runtime: OciRuntime) -> None:
    with socket.socket(socket.AF_UNIX) as console:
        console.bind(str(caller.directory / "console"))
        console.listen()
        options = ("--console-socket", str(caller.directory / "console"))
        pid = await caller.create(
            "sh",
            "-c",
            "read line; echo said $line",
            options=options,
            terminal=True,
            consoleSize={"width": 90, "height": 30},
        )
        connected, _ = console.accept()
        with connected:
            name, [terminal], _, _ = socket.recv_fds(connected, 4096, 1)
    assert name.startswith(b"/dev/pts/")
    assert (await caller.run("start", "c1"))[0] == 0
    await until(lambda: runtime.windows == [(90, 30)])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    await until(lambda: runtime.windows[-1] == (80, 24))
    os.write(terminal, b"hello\n")
    assert await asyncio.to_thread(os.read, terminal, 100) == b"said hello\n"
    assert await exit_status(pid) == 0
    with pytest.raises(OSError, match="Input/output"):
        os.read(terminal, 100)
    os.close(terminal)


@needs_root
async def test_the_process_waits_for_a_daemon_that_is_restarted(runtime: OciRuntime, tmp_path: Path) -> None:
    caller = Caller(tmp_path)
    async with serving_oci(runtime, tmp_path / "oci.sock"):
        pid = await caller.create("sh", "-c", "while [ ! -e go ]; do sleep 0.01; done; exit 6")
        assert (await caller.run("start", "c1"))[0] == 0
    code, _, errors = await caller.run("state", "c1")
    assert code == 1 and "vmsandbox serve does not answer" in errors
    async with serving_oci(runtime, tmp_path / "oci.sock"):
        [process] = runtime.processes.values()
        await process.signal(signal.SIGKILL)
        assert await exit_status(pid) == 137


@needs_root
async def test_a_process_whose_container_is_forgotten_ends(runtime: OciRuntime, tmp_path: Path) -> None:
    caller = Caller(tmp_path)
    async with serving_oci(runtime, tmp_path / "oci.sock"):
        pid = await caller.create("sleep", "1000")
    runtime.containers.clear()
    async with serving_oci(runtime, tmp_path / "oci.sock"):
        assert await exit_status(pid) == 255
        assert (await caller.state())["status"] == "stopped"
        assert await caller.run("delete", "c1") == (0, "", "")


@needs_root
async def test_a_command_runs_in_a_container(caller: Caller) -> None:
    await caller.create("sleep", "1000")
    assert await caller.run("exec", "c1", "sh", "-c", "echo out; exit 3") == (3, "out\n", "")
    process = caller.directory / "process.json"
    process.write_text(json.dumps(config()["process"] | {"args": ["sh", "-c", "exit 4"]}))
    pid_file = caller.directory / "exec.pid"
    started = await caller.run("exec", "--detach", "--pid-file", str(pid_file), "--process", str(process), "c1")
    assert started == (0, "", "")
    assert await exit_status(int(pid_file.read_text())) == 4
    code, _, errors = await caller.run("exec", "c1", "missing")
    assert code == 255 and "executable file not found in $PATH" in errors
    assert (await caller.run("delete", "--force", "c1"))[0] == 0


@needs_root
async def test_the_process_is_in_namespaces_of_its_own(caller: Caller) -> None:
    pid = await caller.create("sleep", "1000")
    kinds = ("net", "ipc", "uts", "mnt", "pid", "user")
    assert [kind for kind in kinds if _namespace(pid, kind) == _namespace(os.getpid(), kind)] == ["user"]
    assert (await caller.run("delete", "--force", "c1"))[0] == 0
    assert await exit_status(pid) == 137


@needs_root
async def test_the_process_has_the_containers_root_and_volumes_and_nothing_of_the_host(caller: Caller) -> None:
    pid = await caller.create("sleep", "1000")
    root = Path(f"/proc/{pid}/root")
    assert root.stat().st_ino == (caller.directory / "rootfs").stat().st_ino
    assert sorted(path.name for path in root.iterdir()) == ["proc", "v"]
    assert (root / "v/config.json").read_text() == (caller.directory / "config.json").read_text()
    assert [path.name for path in (root / "proc").glob("[0-9]*")] == ["1"]
    mounted = (Path(f"/proc/{pid}/mounts")).read_text().splitlines()
    assert [line.split()[1] for line in mounted] == ["/", "/proc", "/v"]
    assert (await caller.run("delete", "--force", "c1"))[0] == 0


@needs_root
async def test_a_container_that_is_killed_for_memory_is_told_in_the_bundle_as_conmon_does(
    caller: Caller, runtime: OciRuntime
) -> None:
    pid = await caller.create("sleep", "1000")
    runtime.reason = "OOMKilled"
    assert (await caller.run("start", "c1"))[0] == 0
    os.kill(pid, signal.SIGTERM)
    assert await exit_status(pid) == 143
    assert (caller.directory / "oom").exists()


@needs_root
@pytest.mark.skipif(not Path("/sys/fs/cgroup/memory").is_dir(), reason="the host has no memory cgroups of version 1")
async def test_the_hosts_kernel_counts_a_kill_for_memory_in_the_cgroup_of_the_container(
    caller: Caller, runtime: OciRuntime
) -> None:
    caller.cgroup = f"/vmsandbox-test-{os.getpid()}"
    pid = await caller.create("sh", "-c", "kill -9 $$")
    runtime.reason = "OOMKilled"
    assert (await caller.run("start", "c1"))[0] == 0
    assert await exit_status(pid) == -signal.SIGKILL
    counted = Path(f"/sys/fs/cgroup/memory{caller.cgroup}/memory.oom_control").read_text()
    assert "oom_kill 1" in counted.splitlines()
    assert (await caller.run("delete", "c1"))[0] == 0


@needs_root
async def test_containers_are_listed(caller: Caller) -> None:
    pid = await caller.create("sleep", "1000")
    assert (await caller.run("list", "--quiet"))[1] == "c1\n"
    [listed] = json.loads((await caller.run("list", "--format", "json"))[1])
    assert (listed["id"], listed["pid"], listed["status"]) == ("c1", pid, "created")
    header, row = (await caller.run("list"))[1].splitlines()
    assert header.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED"] and row.split()[:3] == [
        "c1",
        str(pid),
        "created",
    ]
    assert (await caller.run("delete", "c1"))[0] == 0


async def test_containers_of_runc_in_the_same_root_are_not_listed(caller: Caller) -> None:
    (caller.directory / "root/other").mkdir(parents=True)
    (caller.directory / "root/other/state.json").write_text('{"id": "other", "init_process_pid": 1}')
    assert await caller.run("list", "--quiet") == (0, "", "")
    assert await caller.run("state", "other") == (1, "", "container does not exist: other\n")


@needs_root
async def test_a_container_that_cannot_be_made_leaves_nothing(caller: Caller, runtime: OciRuntime) -> None:
    bundle = caller.bundle("true", rlimits=[], execCPUAffinity={"initial": "0"})
    code, _, errors = await caller.run("create", "--bundle", bundle, "c1")
    assert code == 1 and "execCPUAffinity in config.json is refused" in errors
    bundle = caller.bundle("true", terminal=True)
    code, _, errors = await caller.run("create", "--bundle", bundle, "--console-socket", "/nobody", "c1")
    assert code == 1 and "No such file" in errors
    assert (runtime.sandboxes, list((caller.directory / "root").iterdir())) == ({}, [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("state", "c1"), "container does not exist: c1"),
        (("state", "../c1"), "invalid id format: '../c1'"),
        (("start",), 'vmsandbox-oci: "start" requires exactly 1 argument(s)'),
        (("delete", "--force"), 'vmsandbox-oci: "delete" requires exactly 1 argument(s)'),
        (("delete", "--force", "../c1"), "invalid id format: '../c1'"),
        (("state", "a" * 256), "invalid id format: 'aaa"),
        (("create", "--bundle", "/nowhere", "c1"), "open /nowhere/config.json: No such file or directory"),
        (("create", "--preserve-fds", "1", "c1"), "--preserve-fds"),
        (("checkpoint", "c1"), "does not have the command 'checkpoint'"),
        (("pause", "c1"), "container does not exist: c1"),
        (("events", "--interval", "0", "c1"), "duration interval must be greater than 0"),
        (("events", "--interval", "soon", "c1"), 'invalid value "soon" for flag -interval: parse error'),
        (("spec", "--bundle", "/nowhere"), "chdir /nowhere: No such file or directory"),
    ],
)
async def test_an_error_is_a_line_and_is_in_the_log(caller: Caller, words: tuple[str, ...], said: str) -> None:
    code, printed, errors = await caller.run(*words)
    assert (code, printed) == (1, "") and said in errors
    logged = json.loads((caller.directory / "log").read_text().splitlines()[-1])
    assert (logged["level"], f"{logged['msg']}\n") == ("error", errors)


@pytest.mark.parametrize("field", ["process", "root", "linux"])
async def test_a_config_with_a_malformed_part_is_refused(tmp_path: Path, field: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**config(), field: 7}))
    code, _, errors = await Caller(tmp_path).run("create", "--bundle", str(tmp_path), "c1")
    assert (code, errors) == (1, f"{tmp_path}/config.json: {field} is not a JSON object\n")
    assert not (tmp_path / "root").exists()


async def test_a_daemon_that_is_not_there_is_not_taken_for_a_command_that_is_not(tmp_path: Path) -> None:
    """Podman ends with 127 where an error has the text of ENOENT."""
    caller = Caller(tmp_path)
    code, _, errors = await caller.run("create", "--bundle", caller.bundle("true"), "c1")
    assert code == 1 and errors.startswith("vmsandbox serve does not answer at ")
    assert "No such file" not in errors and "start it" in errors


async def test_cgroups_of_systemd_need_one_that_runs(caller: Caller) -> None:
    code, _, errors = await caller.run("--systemd-cgroup", "create", "--bundle", caller.bundle("true"), "c1")
    assert (code, errors) == (1, "systemd not running on this host, cannot use systemd cgroups manager\n")


async def test_a_command_that_there_is_not_ends_with_3(caller: Caller) -> None:
    code, _, errors = await caller.run("dance")
    assert code == 3 and errors.startswith("No help topic for 'dance'")


async def test_a_log_of_another_form_is_refused(caller: Caller) -> None:
    assert await caller.run("--log-format", "xml", "list") == (1, "", "invalid log-format: xml\n")


async def test_a_log_of_text_has_the_form_of_runc(caller: Caller) -> None:
    await caller.run("--log-format=text", "state", "c1")
    logged = (caller.directory / "log").read_text()
    assert re.fullmatch(r'time="[^"]+Z" level=error msg="container does not exist: c1"\n', logged)


async def test_features_and_version_need_no_daemon(tmp_path: Path) -> None:
    caller = Caller(tmp_path)
    code, printed, _ = await caller.run("features")
    assert code == 0 and json.loads(printed)["hooks"][:2] == ["prestart", "createRuntime"]
    assert (await caller.run("--version"))[1].startswith("vmsandbox-oci version ")
    assert "exec" in (await caller.run("--help"))[1]
    assert "--console-socket" in (await caller.run("create", "--help"))[1]


async def test_little_is_imported(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(CHECKOUT)!r}); import vmsandbox.oci_command.__main__; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-ISc", code], check=True, stdout=subprocess.PIPE, text=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"asyncio", "dataclasses", "pathlib", "argparse", "subprocess", "logging", "click", "grpc"}
    assert {name for name in loaded if name.startswith("vmsandbox.") and "oci_command" not in name} == {
        "vmsandbox.version"
    }


def _namespace(pid: int, kind: str) -> str:
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    return ""

"""The command itself, as a caller runs it, against a door whose containers are processes of this host.

It makes namespaces, so that most of it needs root.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.oci_runtime import OciRuntime
from tests.support.waiting import until
from tests.unit.oci.configs import config, namespaces
from vmsandbox.model import ContainerState
from vmsandbox.oci import serving_oci

CHECKOUT = Path(__file__).parents[3]
HERE = f"import sys; sys.path.insert(0, {str(CHECKOUT)!r})"
PROGRAM = f"{HERE}; from vmsandbox.oci_command.__main__ import main; sys.exit(main())"
_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER (prctl(2))."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="it makes namespaces")


@dataclass
class Caller:
    """Runs the command; it is the parent of what a command leaves."""

    directory: Path

    async def run(self, *words: str, stdin: int = subprocess.DEVNULL, **more: Any) -> tuple[int, str, str]:
        """Return exit status, output and errors."""
        paths = ("--root", str(self.directory / "root"), "--socket", str(self.directory / "oci.sock"))
        line = [
            sys.executable,
            "-ISc",
            PROGRAM,
            "--log",
            str(self.directory / "log"),
            "--log-format=json",
            *paths,
            *words,
        ]
        with (self.directory / "out").open("wb") as out, (self.directory / "err").open("wb") as err:
            process = await asyncio.create_subprocess_exec(*line, stdin=stdin, stdout=out, stderr=err, env={}, **more)
            code = await process.wait()
        return code, self.printed("out"), self.printed("err")

    def printed(self, name: str) -> str:
        """Return what was printed, by the process that a command has left, too."""
        return (self.directory / name).read_text()

    def bundle(self, *command: str, **process: Any) -> str:
        """Make a bundle."""
        linux = {"namespaces": namespaces("pid", "network", "ipc", "uts", "mount")}
        (self.directory / "rootfs/proc").mkdir(parents=True, exist_ok=True)
        (self.directory / "rootfs/v").mkdir(exist_ok=True)
        mounts = [{"destination": "/v", "type": "bind", "source": ".", "options": ["rbind"]}]
        document = config(
            linux=linux,
            process=config()["process"] | {"args": list(command)} | process,
            root={"path": "rootfs"},
            mounts=[*config()["mounts"], *mounts],
        )
        (self.directory / "config.json").write_text(json.dumps(document))
        return str(self.directory)

    async def create(self, *command: str, options: tuple[str, ...] = (), **process: Any) -> int:
        """Make the container c1; return the pid that stands for it."""
        pid_file = self.directory / "pid"
        options = ("--bundle", self.bundle(*command, **process), "--pid-file", str(pid_file), *options)
        assert await self.run("create", *options, "c1") == (0, "", "")
        return int(pid_file.read_text())

    async def state(self) -> dict[str, Any]:
        """Return the state of c1."""
        code, printed, errors = await self.run("state", "c1")
        assert code == 0, errors
        found: dict[str, Any] = json.loads(printed)
        return found


async def exit_status(pid: int) -> int:
    """Return the exit status of a process that is our child since its parent has ended."""
    return os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, pid, 0))[1])


@pytest.fixture(autouse=True)
def subreaper() -> Iterator[None]:
    libc = ctypes.CDLL(None)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(_SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
async def runtime() -> AsyncIterator[OciRuntime]:
    made = OciRuntime()
    yield made
    await made.end_all()


@pytest.fixture
async def caller(runtime: OciRuntime, tmp_path: Path) -> AsyncIterator[Caller]:
    async with serving_oci(runtime, tmp_path / "oci.sock"):
        yield Caller(tmp_path)


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
    assert code == 1 and "executable file `missing` not found" in errors
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
        (("start",), "vmsandbox-oci start needs ID"),
        (("delete", "--force"), "vmsandbox-oci delete needs ID"),
        (("delete", "--force", "../c1"), "invalid id format: '../c1'"),
        (("state", "a" * 256), "invalid id format: 'aaa"),
        (("create", "--bundle", "/nowhere", "c1"), "open /nowhere/config.json: No such file or directory"),
        (("create", "--preserve-fds", "1", "c1"), "--preserve-fds"),
        (("pause", "c1"), "does not have the command 'pause'"),
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


async def test_cgroups_of_systemd_are_refused(caller: Caller) -> None:
    code, _, errors = await caller.run("--systemd-cgroup", "create", "--bundle", caller.bundle("true"), "c1")
    assert code == 1 and "cgroupfs" in errors


async def test_features_and_version_need_no_daemon(tmp_path: Path) -> None:
    caller = Caller(tmp_path)
    code, printed, _ = await caller.run("features")
    assert code == 0 and json.loads(printed)["linux"]["cgroup"]["systemd"] is False
    assert (await caller.run("--version"))[1].startswith("vmsandbox-oci version ")
    assert "exec" in (await caller.run("--help"))[1]


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

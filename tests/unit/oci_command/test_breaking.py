"""Uses of the command that nobody is meant to make: closed streams, damaged files, kills, many at once."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.oci_runtime import OciRuntime
from tests.unit.oci_command.caller import Caller, exit_status, needs_root
from vmsandbox.errors import Unavailable
from vmsandbox.oci_command import console
from vmsandbox.oci_command.errors import CommandError
from vmsandbox.oci_command.store import Store


def without_streams() -> None:
    for fd in range(3):
        os.close(fd)


@needs_root
async def test_a_caller_may_have_closed_the_standard_streams(caller: Caller) -> None:
    options = ("--bundle", caller.bundle("sh", "-c", "echo lost; exit 6"), "--pid-file", f"{caller.directory}/pid")
    assert (await caller.run("create", *options, "c1", preexec_fn=without_streams))[0] == 0
    assert (await caller.run("state", "c1", preexec_fn=without_streams))[0] == 0
    assert (await caller.run("start", "c1", preexec_fn=without_streams))[0] == 0
    assert await exit_status(int((caller.directory / "pid").read_text())) == 6


@needs_root
async def test_a_container_that_cannot_be_started_has_ended_when_that_is_told(
    caller: Caller, runtime: OciRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker's shim deletes the task then, which it does not do to one that has not ended."""

    async def fail(_: str) -> None:
        raise Unavailable("no network")

    pid = await caller.create("sleep", "1000")
    monkeypatch.setattr(runtime, "start_container", fail)
    assert (await caller.run("start", "c1"))[::2] == (1, "no network\n")
    assert os.waitpid(pid, os.WNOHANG)[0] == pid
    assert (await caller.state())["status"] == "stopped"
    assert (await caller.run("delete", "c1"))[0] == 0


@needs_root
async def test_an_id_that_a_killed_command_has_claimed_is_free(caller: Caller) -> None:
    left = caller.directory / "root/c1"
    left.mkdir(parents=True)
    assert (await caller.run("delete", "--force", "c1"))[0] == 0 and not left.exists()
    left.mkdir()
    await caller.create("true")
    again = await caller.run("create", "--bundle", str(caller.directory), "c1")
    assert again[::2] == (1, "container with id exists: c1\n")


def test_an_id_that_a_command_is_about_to_use_is_taken_and_nothing_stays_open(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    claimed = Store(str(tmp_path)).claim("c1")
    with pytest.raises(CommandError, match="exists"):
        Store(str(tmp_path)).claim("c1")
    Store(str(tmp_path)).sweep("c1")
    assert (tmp_path / "c1").is_dir()
    claimed.save(container="")
    assert [entry.id for entry in Store(str(tmp_path)).all()] == ["c1"]
    claimed.remove()
    del claimed
    assert os.listdir("/proc/self/fd") == before and not any(tmp_path.iterdir())


@needs_root
async def test_a_container_is_made_and_removed_by_many_at_once(caller: Caller, runtime: OciRuntime) -> None:
    bundle = caller.bundle("sleep", "1000")

    async def make(number: int) -> int:
        words = ("create", "--bundle", bundle, "c1") if number % 2 else ("delete", "--force", "c1")
        return await caller.quietly(*words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    done = await asyncio.gather(*(make(number) for number in range(12)))
    assert set(done) <= {0, 1} and 0 in done
    await caller.run("delete", "--force", "c1")
    assert (runtime.containers, runtime.sandboxes, list((caller.directory / "root").iterdir())) == ({}, {}, [])


@pytest.mark.parametrize(
    "text", ["[" * 200_000, "{", "\0", "5", '{"hooks": {"prestart": 5}, "linux": {"namespaces": 5}}']
)
async def test_a_config_that_is_not_one_is_an_error_of_one_line(caller: Caller, text: str) -> None:
    (caller.directory / "config.json").write_text(text)
    code, _, said = await caller.run("create", "--bundle", str(caller.directory), "c1")
    assert code == 1 and said.count("\n") == 1 and "Traceback" not in said


async def test_a_config_that_is_too_large_is_an_error_of_one_line(caller: Caller) -> None:
    caller.bundle("true")
    document: dict[str, Any] = json.loads((caller.directory / "config.json").read_text())
    document["annotations"] = {"large": "x" * (5 << 20)}
    (caller.directory / "config.json").write_text(json.dumps(document))
    code, _, said = await caller.run("create", "--bundle", str(caller.directory), "c1")
    assert (code, said.count("\n")) == (1, 1) and "is longer than" in said
    assert list((caller.directory / "root").iterdir()) == []


@pytest.mark.parametrize("root", ["nowhere", "config.json", "dangling"])
async def test_a_root_that_is_not_a_directory_is_refused_before_a_machine_boots(
    caller: Caller, runtime: OciRuntime, root: str
) -> None:
    caller.bundle("true")
    (caller.directory / "dangling").symlink_to("nowhere")
    document = json.loads((caller.directory / "config.json").read_text()) | {"root": {"path": root}}
    (caller.directory / "config.json").write_text(json.dumps(document))
    code, _, said = await caller.run("create", "--bundle", str(caller.directory), "c1")
    assert (code, said) == (1, f"invalid rootfs: {caller.directory}/{root} is not a directory\n")
    assert not runtime.sandboxes


@pytest.mark.parametrize("name", ["../c1", "a/b", "..", "", "x" * 256, "a b", "é"])
async def test_an_id_that_is_not_one_makes_nothing(caller: Caller, runtime: OciRuntime, name: str) -> None:
    bundle = caller.bundle("true")
    for words in (("create", "--bundle", bundle), ("start",), ("delete", "--force"), ("state",), ("exec",)):
        assert (await caller.run(*words, name))[0] in (1, 255)
    assert not runtime.containers and not (caller.directory / "root").exists()


@needs_root
async def test_what_is_known_of_a_container_may_be_damaged(caller: Caller) -> None:
    pid = await caller.create("true")
    (caller.directory / "root/c1/state.json").write_text("{")
    code, _, said = await caller.run("state", "c1")
    os.kill(pid, signal.SIGKILL)
    assert code == 1 and "is damaged" in said and said.count("\n") == 1


def test_a_caller_that_never_takes_its_terminal_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_PATIENCE", 1)
    with socket.socket(socket.AF_UNIX) as listening, socket.socket(socket.AF_UNIX) as first:
        listening.bind(str(tmp_path / "console"))
        listening.listen(0)
        first.connect(str(tmp_path / "console"))
        with pytest.raises(OSError, match="nobody takes the terminal"):
            console.give(str(tmp_path / "console"))


@needs_root
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_command_that_is_killed_leaves_an_id_that_can_be_used(
    caller: Caller, runtime: OciRuntime, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    making = asyncio.Event()

    async def hang(*_: object) -> str:
        making.set()
        await asyncio.Event().wait()
        return ""

    with monkeypatch.context() as patched:
        patched.setattr(runtime, "run_pod_sandbox", hang)
        creating = asyncio.create_task(caller.run("create", "--bundle", caller.bundle("true"), "c1"))
        await making.wait()
        os.kill(caller.commands[0], number)
        assert (await creating)[0] != 0
    assert await caller.create("true")

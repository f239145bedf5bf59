"""pause, resume, update, ps, events: as runc has them, against containers that are processes of this host."""

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest

from tests.fakes.oci_runtime import OciRuntime
from tests.unit.oci_command.caller import Caller, exit_status, needs_root

pytestmark = needs_root


async def started(caller: Caller, *command: str) -> int:
    pid = await caller.create(*(command or ("sleep", "1000")))
    assert (await caller.run("start", "c1"))[0] == 0
    return pid


async def test_a_container_is_paused_and_goes_on(caller: Caller, runtime: OciRuntime) -> None:
    await started(caller)
    assert await caller.run("pause", "c1") == (0, "", "")
    assert (await caller.state())["status"] == "paused"
    assert await caller.run("pause", "c1") == (1, "", "container not running\n")
    assert await caller.run("delete", "c1") == (1, "", "cannot delete container c1 that is not stopped: paused\n")
    code, _, errors = await caller.run("exec", "c1", "true")
    assert (code, errors) == (
        255,
        "exec failed: cannot exec in a paused container (use --ignore-paused to override)\n",
    )
    assert (await caller.run("exec", "--ignore-paused", "c1", "true"))[0] == 0
    assert await caller.run("resume", "c1") == (0, "", "")
    assert await caller.run("resume", "c1") == (1, "", "container not paused\n")
    assert (await caller.state())["status"] == "running"
    asked = [call[2] for call in runtime.calls if call[0] == "freeze_container"]
    assert asked == [True, False]


async def test_a_container_that_was_killed_while_it_was_paused_has_stopped(caller: Caller) -> None:
    pid = await started(caller)
    assert (await caller.run("pause", "c1"))[0] == 0
    os.kill(pid, signal.SIGKILL)
    assert await exit_status(pid) == -signal.SIGKILL
    assert (await caller.state())["status"] == "stopped"


async def test_limits_are_changed_by_options_and_by_a_document(caller: Caller, runtime: OciRuntime) -> None:
    await started(caller)
    assert await caller.run("update", "--memory", "100m", "--cpu-quota", "50000", "--pids-limit", "7", "c1") == (
        0,
        "",
        "",
    )
    [container] = runtime.containers.values()
    resources = container.config.resources
    assert (resources.memory_limit, resources.cpu_quota, resources.unified) == (100 << 20, 50000, {"pids.max": "7"})
    document = caller.directory / "resources.json"
    document.write_text(
        json.dumps({"memory": {"limit": 96 << 20, "reservation": 32 << 20}, "blockIO": {"weight": 0}, "devices": [{}]})
    )
    assert await caller.run("update", "--resources", str(document), "c1") == (0, "", "")
    with document.open("rb") as stdin:
        assert await caller.run("update", "--resources", "-", "c1", stdin=stdin.fileno()) == (0, "", "")
    [container] = runtime.containers.values()
    assert container.config.resources.memory_limit == 96 << 20
    assert container.config.resources.unified == {"pids.max": "7", "memory.low": str(32 << 20)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cpu-share", "x"), "invalid value for cpu-share: 'x'"),
        (("--memory", "much"), "invalid value for memory: 'much'"),
        (("--blkio-weight", "500"), "the disks of the host are not the machine's"),
        (("--l3-cache-schema", "x"), "caches of the host's CPUs"),
        (("--resources", "/nowhere"), "open /nowhere: No such file or directory"),
    ],
)
async def test_limits_that_cannot_be_are_refused(caller: Caller, words: tuple[str, ...], said: str) -> None:
    await started(caller)
    code, _, errors = await caller.run("update", *words, "c1")
    assert code == 1 and said in errors


async def test_the_processes_are_listed_for_callers_and_for_people(caller: Caller) -> None:
    pid = await started(caller)
    assert json.loads((await caller.run("ps", "--format", "json", "c1"))[1]) == [pid]
    header, first, second = (await caller.run("ps", "c1"))[1].splitlines()
    assert header.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert first.split()[:3] == ["0", "1", "0"] and first.endswith("01:01:01 sh -c sleep 9")
    assert second.split()[:3] == ["33", "7", "1"]
    assert await caller.run("ps", "--format", "xml", "c1") == (1, "", "invalid format option\n")
    code, _, errors = await caller.run("ps", "c1", "-o", "pid")
    assert code == 1 and "options of ps(1)" in errors
    os.kill(pid, signal.SIGKILL)
    await exit_status(pid)
    assert (await caller.run("ps", "--format", "json", "c1"))[1] == "null\n"
    assert len((await caller.run("ps", "c1"))[1].splitlines()) == 1


async def test_what_a_container_uses_is_told_once_or_until_its_end(caller: Caller, runtime: OciRuntime) -> None:
    pid = await started(caller)
    once = json.loads((await caller.run("events", "--stats", "c1"))[1])
    assert (once["type"], once["id"], once["data"]["memory"]["usage"]["limit"]) == ("stats", "c1", 8192)
    assert once["data"]["cpu"]["usage"]["total"] == 7_000_000_000
    following = asyncio.create_task(caller.run("events", "--interval", "100ms", "c1"))
    while caller.printed("out").count('"stats"') < 2:
        await asyncio.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    await exit_status(pid)
    code, printed, _ = await following
    assert code == 0
    assert [json.loads(line)["type"] for line in printed.splitlines()[:3]] == ["oom", "stats", "stats"]
    assert await caller.run("events", "c1") == (1, "", "container with id c1 is not running\n")


async def test_all_processes_of_a_container_are_sent_a_signal(caller: Caller, runtime: OciRuntime) -> None:
    await started(caller)
    assert (await caller.run("kill", "--all", "c1", "15"))[0] == 0
    assert ("signal_container", *runtime.calls[-1][1:]) == ("signal_container", *runtime.containers, "15", "everyone")


async def test_a_container_is_started_once(caller: Caller) -> None:
    pid = await started(caller)
    assert await caller.run("start", "c1") == (1, "", "cannot start an already running container\n")
    os.kill(pid, signal.SIGKILL)
    await exit_status(pid)
    assert await caller.run("start", "c1") == (1, "", "cannot start a container that has stopped\n")


async def test_a_document_to_begin_with_is_written_once(caller: Caller, tmp_path: Path) -> None:
    assert await caller.run("spec", "--bundle", str(tmp_path)) == (0, "", "")
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["process"]["args"] == ["sh"] and written["root"] == {"path": "rootfs", "readonly": True}
    assert await caller.run("spec", "-b", str(tmp_path)) == (1, "", "File config.json exists. Remove it first\n")

import asyncio
import os
from pathlib import Path

import pytest

from tests.fakes.network import PLUGINS
from tests.support.waiting import until
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, Internal, Unavailable, VmsandboxError
from vmsandbox.network import plugin
from vmsandbox.process import ProcessIdentity
from vmsandbox.protocol.codec import JSON


async def call(script: JSON, command: str = "ADD", timeout: float = 30) -> JSON:
    configuration = {"cniVersion": "1.0.0", "name": "pods", "type": "cni_plugin", "script": {command: script}}
    return await plugin.call(
        "cni_plugin", command, configuration, parameters={}, directories=(PLUGINS,), timeout=timeout
    )


async def test_a_plugins_result_is_returned() -> None:
    assert await call({"result": {"ips": []}}) == {"ips": []}


async def test_a_plugin_that_prints_nothing_has_no_result() -> None:
    assert await call({}, "DEL") is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (1, FailedPrecondition),
        (7, FailedPrecondition),
        (4, Internal),
        (5, Unavailable),
        (11, Unavailable),
        (999, Unavailable),
    ],
)
async def test_an_error_result_names_plugin_command_message_and_details(code: int, kind: type[VmsandboxError]) -> None:
    error = {"code": code, "msg": "no address left", "details": "range 0"}
    with pytest.raises(kind) as raised:
        await call({"error": error, "stderr": "a hint on stderr"})
    assert str(raised.value) == f"the CNI plugin cni_plugin failed on ADD: no address left (code {code})"
    assert raised.value.evidence == {"details": "range 0", "stderr": "a hint on stderr"}


async def test_a_plugin_that_fails_without_an_error_result_shows_what_it_printed() -> None:
    with pytest.raises(Unavailable, match="cni_plugin failed on ADD") as raised:
        await call({"stdout": "Traceback", "stderr": "boom", "exit": 3})
    assert raised.value.evidence == {"stdout": "Traceback\n", "stderr": "boom"}


async def test_a_plugin_that_is_killed_has_failed() -> None:
    with pytest.raises(Unavailable, match="cni_plugin failed on DEL"):
        await call({"kill": True}, "DEL")


@pytest.mark.parametrize("printed", ["no json", "[1]", "12"])
async def test_a_result_that_is_not_a_json_object_is_an_error(printed: str) -> None:
    with pytest.raises(Internal, match="no JSON object") as raised:
        await call({"stdout": printed})
    assert printed in raised.value.evidence["stdout"]


async def test_a_flood_is_an_error_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "OUTPUT_KEPT", 1000)
    with pytest.raises(Internal, match="printed over 1000 bytes"):
        await call({"stdout": "x" * 2000})


async def test_a_long_error_is_cut() -> None:
    with pytest.raises(Unavailable) as raised:
        await call({"error": {"code": 100, "msg": "m" * 100_000, "details": "d" * 100_000}})
    assert len(raised.value.report()) < 20_000


async def test_a_missing_plugin_is_named_with_the_places_looked_at(tmp_path: Path) -> None:
    (tmp_path / "bridge").write_text("not executable")
    with pytest.raises(FailedPrecondition, match=f"bridge is not in {tmp_path}"):
        plugin.find("bridge", [tmp_path])


async def test_a_hanging_plugin_is_killed_at_its_deadline_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    deadline = 0.25
    while not pids.exists():  # on a busy machine the first deadlines may pass before the plugin begins
        deadline *= 2
        with pytest.raises(DeadlineExceeded, match=f"cni_plugin did not end its ADD within {deadline:g} s"):
            await call({"hang": str(pids)}, timeout=deadline)
    await _assert_gone(pids)


async def test_a_cancelled_call_kills_the_plugin_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    task = asyncio.create_task(call({"hang": str(pids)}))
    await until(pids.exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _assert_gone(pids)


async def test_a_plugin_has_the_environment_of_the_daemon_and_the_search_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "shows"
    script.write_text(
        """#!/bin/sh
        printf '{"path": "%s", "own": "%s", "id": "%s"}' "$CNI_PATH" "$OWN" "$CNI_IFNAME"
        """
    )
    script.chmod(0o755)
    monkeypatch.setenv("OWN", "setting")
    directories = (tmp_path, PLUGINS)
    result = await plugin.call(
        "shows", "ADD", {}, parameters={"CNI_IFNAME": "eth0"}, directories=directories, timeout=30
    )
    assert result == {"path": os.pathsep.join(map(str, directories)), "own": "setting", "id": "eth0"}


async def test_the_files_of_a_plugin_can_be_read_as_with_other_runtimes(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        await call({"touch": str(tmp_path / "lease")})
    finally:
        os.umask(before)
    assert oct((tmp_path / "lease").stat().st_mode & 0o777) == "0o644"


async def _assert_gone(pids: Path) -> None:
    """Wait until the processes are gone (a killed orphan is reaped by somebody else, when they like)."""
    numbers = [int(pid) for pid in pids.read_text().split()]
    await until(lambda: not any(map(ProcessIdentity.of, numbers)))

"""Execs: further processes in a running container."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.guest.client import CONTAINER, AgentRefused, Client, process_spec
from vmsandbox.protocol.messages import (
    DeleteContainer,
    EndExecs,
    Exec,
    ListContainers,
    Resize,
    SignalContainer,
    SignalExec,
    StartContainer,
    Stream,
    User,
)
from vmsandbox_agent.settings import MAX_EXECS


@pytest.fixture
async def running(client: Client) -> Client:
    await client.create("trap exit TERM; while :; do sleep 0.05; done", user=User("web"))
    await client.call(StartContainer(CONTAINER))
    return client


async def test_an_exec_prints_and_exits_with_its_code(running: Client) -> None:
    await running.exec("echo out; echo err >&2; exit 4")
    stdout = await running.stream(Stream.STDOUT, exec_id="e1")
    stderr = await running.stream(Stream.STDERR, exec_id="e1")
    assert (await stdout.read_all(), await stderr.read_all()) == (b"out\n", b"err\n")
    ended = await running.exit("e1")
    assert (ended.container_id, ended.exit_code) == (CONTAINER, 4)


async def test_an_exec_sees_the_containers_processes_as_its_user(running: Client) -> None:
    await running.exec("id -u; id -g; kill -0 1 && echo seen")
    stdout = await running.stream(Stream.STDOUT, exec_id="e1")
    assert await stdout.read_all() == b"33\n34\nseen\n"


async def test_an_exec_can_have_its_own_user(running: Client) -> None:
    await running.exec("id -u", user=User("root"))
    assert await (await running.stream(Stream.STDOUT, exec_id="e1")).read_all() == b"0\n"


async def test_the_addresses_of_containers_are_drawn_though_those_of_crun_are_not(client: Client) -> None:
    await client.create("cat /proc/self/personality; sleep 60")
    await client.call(StartContainer(CONTAINER))
    assert await (await client.stream(Stream.STDOUT)).read_until(b"\n") == b"00000000\n"
    await client.exec("cat /proc/self/personality")
    assert await (await client.stream(Stream.STDOUT, exec_id="e1")).read_all() == b"00000000\n"


async def test_an_exec_reads_stdin_to_its_half_close(running: Client) -> None:
    await running.exec("wc -c", stdin=True)
    stdin = await running.stream(Stream.STDIN, exec_id="e1")
    stdout = await running.stream(Stream.STDOUT, exec_id="e1")
    await stdin.write(b"12345")
    await stdin.write(b"")
    assert await stdout.read_all() == b"5\n"


async def test_an_exec_has_a_terminal_of_its_own(running: Client) -> None:
    await running.exec("tty >/dev/null && echo ready; read x; stty size", tty=True, stdin=True)
    stdin = await running.stream(Stream.STDIN, exec_id="e1")
    stdout = await running.stream(Stream.STDOUT, exec_id="e1")
    await stdout.read_until(b"ready\r\n")
    await running.call(Resize(CONTAINER, 100, 30, exec_id="e1"))
    await stdin.write(b"\n")
    assert (await stdout.read_all()).endswith(b"30 100\r\n")
    assert (await running.exit("e1")).exit_code == 0


async def test_the_input_of_an_exec_is_not_the_guests_own_dev_null(running: Client) -> None:
    await running.exec("stat -L -c '%t:%T %d' /proc/self/fd/0; cat")
    printed = await (await running.stream(Stream.STDOUT, exec_id="e1")).read_all()
    number, device = printed.decode().split()
    assert number == "1:3"
    assert int(device) != Path("/dev/null").stat().st_dev
    await running.exit("e1")


async def test_killing_an_exec_kills_its_children(running: Client) -> None:
    await running.exec("sleep 1000 & echo $!; wait")
    stdout = await running.stream(Stream.STDOUT, exec_id="e1")
    child = (await stdout.read_until(b"\n")).decode().strip()
    await running.call(SignalExec(CONTAINER, "e1", signal.SIGKILL))
    assert (await running.exit("e1")).exit_code == 137
    await running.exec(f"cat /proc/{child}/stat", "e2")
    state = await (await running.stream(Stream.STDOUT, exec_id="e2")).read_all()
    assert state == b"" or state.split()[2] == b"Z"
    await running.exit("e2")
    await running.call(SignalExec(CONTAINER, "e1", signal.SIGKILL))


async def test_an_exec_waits_for_the_child_that_keeps_its_output_open(running: Client) -> None:
    await running.exec("mkfifo /tmp/go; echo before; { read x </tmp/go; echo after; } & exit 6")
    stdout = await running.stream(Stream.STDOUT, exec_id="e1")
    assert await stdout.read_until(b"\n") == b"before\n"
    await running.exec("echo >/tmp/go", "e2")
    assert await stdout.read_all() == b"after\n"
    ended = [(await running.events.get())[1] for _ in range(2)]
    assert {(event.exec_id, event.exit_code) for event in ended} == {("e1", 6), ("e2", 0)}


async def test_an_exec_that_is_killed_ends_though_a_child_keeps_its_output_open(running: Client) -> None:
    await running.exec("setsid sleep 1000 & echo $!; exit 6")
    stdout = await running.stream(Stream.STDOUT, exec_id="e1")
    await stdout.read_until(b"\n")
    await running.call(SignalExec(CONTAINER, "e1", signal.SIGKILL))
    assert await stdout.read_all() == b""
    assert (await running.exit("e1")).exec_id == "e1"


async def test_an_exec_whose_child_outlives_a_kill_ends(running: Client) -> None:
    await running.exec("setsid sleep 1000 & echo $!; exec sleep 1000")
    stdout = await running.stream(Stream.STDOUT, exec_id="e1")
    await stdout.read_until(b"\n")
    await running.call(SignalExec(CONTAINER, "e1", signal.SIGKILL))
    assert (await running.exit("e1")).exit_code == 137


async def test_the_end_of_the_container_ends_its_execs(running: Client) -> None:
    await running.exec("sleep 1000")
    await running.call(SignalContainer(CONTAINER, signal.SIGKILL))
    ended = [(await running.events.get())[1] for _ in range(2)]
    assert {(event.exec_id, event.exit_code) for event in ended} == {("", 137), ("e1", 137)}


async def test_an_execs_id_is_taken_while_it_starts(running: Client) -> None:
    outcomes = await asyncio.gather(*(running.exec("true") for _ in range(2)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert [outcome.code for outcome in refused if isinstance(outcome, AgentRefused)] == ["already_exists"]
    assert len(refused) == 1


async def test_execs_run_at_once(running: Client) -> None:
    names = [f"e{number}" for number in range(10)]
    await asyncio.gather(*(running.exec(f"echo {name}", name) for name in names))
    streams = [await running.stream(Stream.STDOUT, exec_id=name) for name in names]
    assert [await stream.read_all() for stream in streams] == [f"{name}\n".encode() for name in names]


async def test_an_exec_in_a_container_that_does_not_run_is_refused(client: Client) -> None:
    await client.create("true")
    with pytest.raises(AgentRefused, match="is created, not running") as refused:
        await client.exec("true")
    assert refused.value.code == "failed_precondition"


async def test_a_program_that_does_not_exist_is_named(running: Client) -> None:
    with pytest.raises(AgentRefused, match="no-such-program"):
        process = {**process_spec(""), "args": ["/bin/no-such-program"]}
        await running.call(Exec(CONTAINER, "e1", process))
    await running.exec("true")
    assert (await running.exit("e1")).exit_code == 0


async def test_execs_whose_output_nobody_takes_are_limited(running: Client) -> None:
    for number in range(MAX_EXECS):
        await running.exec("echo untaken", f"e{number}")
    with pytest.raises(AgentRefused, match="execs run, or have output that was not read") as refused:
        await running.exec("true", "more")
    assert refused.value.code == "resource_exhausted"
    stdout = await running.stream(Stream.STDOUT, exec_id="e0")
    assert await stdout.read_all() == b"untaken\n"
    with pytest.raises(AgentRefused):  # Its end is not acknowledged yet.
        await running.exec("true", "more")
    while (await running.events.get())[1].exec_id != "e0":
        pass
    await running.acknowledge(MAX_EXECS)
    await running.exec("true", "more")
    await running.call(DeleteContainer(CONTAINER))


async def test_execs_are_ended_for_a_host_that_knows_none_of_them(client: Client) -> None:
    await client.create("exec sleep 1000")
    await client.call(StartContainer(CONTAINER))
    await client.exec("yes", "e1")  # It fills its buffer, which nobody reads.
    await client.exec("exec sleep 1000", "e2")
    await client.call(EndExecs())
    ended = {(await client.events.get())[1].exec_id for _ in range(2)}
    assert ended == {"e1", "e2"}
    with pytest.raises(AgentRefused, match="has no exec e1"):
        await client.stream(Stream.STDOUT, exec_id="e1")
    await client.exec("true", "e1")
    assert (await client.call(ListContainers())).containers[0].status == "running"

"""Commands in the guest itself: a shell for a person who looks into it, only where the host has allowed it."""

import signal
import time
from collections.abc import AsyncIterator

import pytest

from tests.guest.client import AgentRefused, Client
from vmsandbox.protocol.messages import (
    GUEST,
    ConfigureGuest,
    CreateContainer,
    EndExecs,
    Exec,
    ListContainers,
    OpenStream,
    Resize,
    SignalExec,
    Stream,
)


@pytest.fixture
async def open_guest(client: Client) -> AsyncIterator[Client]:
    await client.call(ConfigureGuest("pod", time.time_ns(), debug=True))
    yield client


async def run(client: Client, *words: str, exec_id: str = "g1", **more: bool) -> None:
    await client.call(Exec(GUEST, exec_id, {"args": list(words), "env": ["PS1=guest> ", "A=b c"]}, **more))


async def test_a_command_is_refused_before_the_host_has_allowed_it(client: Client) -> None:
    for _ in range(2):
        with pytest.raises(AgentRefused, match=r"failed_precondition.*without commands in itself"):
            await run(client, "true")
        await client.call(ConfigureGuest("pod", time.time_ns()))


async def test_a_command_has_its_words_variables_and_exit_code(open_guest: Client) -> None:
    await run(open_guest, "sh", "-c", 'echo "$A" "$0"; exit 3', "x  y")
    stdout = await open_guest.stream(Stream.STDOUT, GUEST, "g1")
    assert await stdout.read_all() == b"b c x  y\n"
    ended = await open_guest.exit("g1")
    assert (ended.container_id, ended.exit_code) == (GUEST, 3)


async def test_a_command_that_is_not_there_ends_with_127(open_guest: Client) -> None:
    await run(open_guest, "no-such-command")
    assert b"not found" in await (await open_guest.stream(Stream.STDERR, GUEST, "g1")).read_all()
    assert (await open_guest.exit("g1")).exit_code == 127


async def test_a_shell_without_a_terminal_runs_what_it_reads(open_guest: Client) -> None:
    await run(open_guest, stdin=True)
    stdin = await open_guest.stream(Stream.STDIN, GUEST, "g1")
    await stdin.write(b"echo $((6 * 7))\nexit 5\n")
    assert await (await open_guest.stream(Stream.STDOUT, GUEST, "g1")).read_all() == b"42\n"
    assert (await open_guest.exit("g1")).exit_code == 5


async def test_a_shell_owns_its_terminal(open_guest: Client) -> None:
    await run(open_guest, tty=True, stdin=True)
    stdin = await open_guest.stream(Stream.STDIN, GUEST, "g1")
    stdout = await open_guest.stream(Stream.STDOUT, GUEST, "g1")
    await stdout.read_until(b"guest> ")
    await open_guest.call(Resize(GUEST, 101, 31, exec_id="g1"))
    await stdin.write(b"stty size\n")
    await stdout.read_until(b"31 101\r\n")
    await stdin.write(b"echo be''gun; sleep 1000\n")
    await stdout.read_until(b"begun\r\n")
    await stdin.write(b"\x03")  # A signal for the group in front, which only a session's own terminal has.
    await stdin.write(b"echo $?; exit 4\n")
    await stdout.read_until(b"130\r\n")
    await stdout.read_all()
    assert (await open_guest.exit("g1")).exit_code == 4


async def test_a_command_is_killed_first_when_memory_is_short(open_guest: Client) -> None:
    await run(open_guest, "cat", "/proc/self/oom_score_adj")
    assert await (await open_guest.stream(Stream.STDOUT, GUEST, "g1")).read_all() == b"1000\n"


async def test_a_command_ends_by_a_signal_and_for_a_host_that_comes_back(open_guest: Client) -> None:
    await run(open_guest, "sleep", "1000")
    await open_guest.call(SignalExec(GUEST, "g1", signal.SIGHUP))
    assert (await open_guest.exit("g1")).exit_code == 128 + signal.SIGHUP
    await run(open_guest, "sleep", "1000", exec_id="g2")
    await open_guest.call(EndExecs())
    assert (await open_guest.exit("g2")).exit_code == 128 + signal.SIGKILL


async def test_the_guest_itself_is_not_a_container(open_guest: Client) -> None:
    with pytest.raises(AgentRefused, match="already_exists"):
        await open_guest.call(CreateContainer(GUEST, "image", {}))
    with pytest.raises(AgentRefused, match="not_found"):
        await open_guest.call(OpenStream(GUEST, Stream.STDOUT))
    assert (await open_guest.call(ListContainers())).containers == ()

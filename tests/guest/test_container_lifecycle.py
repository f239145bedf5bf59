"""A container from its creation to its deletion, by crun on the test host."""

import asyncio
import signal
from pathlib import Path

import pytest

from tests.guest.client import CONTAINER, AgentRefused, Client, runtime_spec
from vmsandbox.protocol.messages import (
    Containers,
    CreateContainer,
    DeleteContainer,
    DetachImage,
    ListContainers,
    SignalContainer,
    StartContainer,
    Stream,
    User,
)


async def finish(client: Client) -> bytes:
    """Start the container and return its whole standard output."""
    await client.call(StartContainer(CONTAINER))
    return await (await client.stream(Stream.STDOUT)).read_all()


async def states(client: Client) -> list[tuple[str, str]]:
    listed = await client.call(ListContainers())
    return [(state.container_id, state.status) for state in listed.containers]


async def test_a_container_prints_and_exits_with_its_code(client: Client) -> None:
    await client.create("echo out; echo err >&2; exit 3")
    await client.call(StartContainer(CONTAINER))
    stdout, stderr = await client.stream(Stream.STDOUT), await client.stream(Stream.STDERR)
    assert (await stdout.read_all(), await stderr.read_all()) == (b"out\n", b"err\n")
    ended = await client.exit()
    assert (ended.container_id, ended.exit_code, ended.oom_killed) == (CONTAINER, 3, False)


async def test_a_container_goes_through_its_states(client: Client) -> None:
    assert await states(client) == []
    await client.create("sleep 1000")
    assert await states(client) == [(CONTAINER, "created")]
    await client.call(StartContainer(CONTAINER))
    assert await states(client) == [(CONTAINER, "running")]
    await client.call(SignalContainer(CONTAINER, signal.SIGKILL))
    assert (await client.exit()).exit_code == 137
    listed: Containers = await client.call(ListContainers())
    assert listed.containers[0].status == "stopped"
    assert listed.containers[0].exit_code == 137
    await client.call(DeleteContainer(CONTAINER))
    assert await states(client) == []


async def test_a_trapped_signal_is_the_containers_to_answer(client: Client) -> None:
    await client.create("trap 'echo term; exit 7' TERM; echo ready; while :; do sleep 0.01; done")
    await client.call(StartContainer(CONTAINER))
    stdout = await client.stream(Stream.STDOUT)
    await stdout.read_until(b"ready\n")
    await client.call(SignalContainer(CONTAINER, signal.SIGTERM))
    assert await stdout.read_all() == b"term\n"
    assert (await client.exit()).exit_code == 7


async def test_signalling_an_ended_container_succeeds(client: Client) -> None:
    await client.create("exit 0")
    await client.call(StartContainer(CONTAINER))
    await client.exit()
    await client.call(SignalContainer(CONTAINER, signal.SIGTERM))
    await client.call(SignalContainer(CONTAINER, signal.SIGKILL, everyone=True))


async def test_deleting_a_running_container_kills_it_and_tells_its_end(client: Client) -> None:
    await client.create("sleep 1000")
    await client.call(StartContainer(CONTAINER))
    await client.call(DeleteContainer(CONTAINER))
    assert (await client.exit()).exit_code == 137


async def test_a_deleted_container_leaves_no_file_and_its_id_is_free(client: Client, agent: Path) -> None:
    for _ in range(2):
        await client.create("mkdir -p /deep/er; echo x >/deep/er/file; ln -s / /deep/link; chmod 0 /deep/er")
        await client.call(StartContainer(CONTAINER))
        assert (await client.exit()).exit_code == 0
        await client.call(DeleteContainer(CONTAINER))
    await client.call(DeleteContainer(CONTAINER))
    await client.create("ls -d /deep", container_id="c2")  # The image was not written to.
    await client.call(StartContainer("c2"))
    assert (await client.exit()).exit_code == 1


async def test_requests_for_an_unknown_container_say_not_found(client: Client) -> None:
    for request in (StartContainer("nobody"), SignalContainer("nobody", 15)):
        with pytest.raises(AgentRefused, match="there is no container nobody") as refused:
            await client.call(request)
        assert refused.value.code == "not_found"


async def test_creating_a_container_twice_says_already_exists(client: Client) -> None:
    await client.create("sleep 1000")
    with pytest.raises(AgentRefused) as refused:
        await client.create("sleep 1000")
    assert refused.value.code == "already_exists"
    assert await states(client) == [(CONTAINER, "created")]


async def test_starting_a_container_twice_fails(client: Client) -> None:
    await client.create("sleep 1000")
    await client.call(StartContainer(CONTAINER))
    with pytest.raises(AgentRefused, match="running, not created") as refused:
        await client.call(StartContainer(CONTAINER))
    assert refused.value.code == "failed_precondition"


async def test_a_program_that_does_not_exist_is_named_by_crun(client: Client) -> None:
    spec = runtime_spec("")
    spec["process"]["args"] = ["/bin/no-such-program"]
    with pytest.raises(AgentRefused, match="no-such-program"):
        await client.create("", spec=spec)
        await client.call(StartContainer(CONTAINER))


async def test_a_creation_that_fails_leaves_nothing(client: Client) -> None:
    spec = runtime_spec("")
    spec["mounts"].append({"destination": "/x", "type": "bind", "source": "/no/such/source", "options": ["bind"]})
    with pytest.raises(AgentRefused, match="/no/such/source"):
        await client.create("", spec=spec)
    assert await states(client) == []
    await client.create("exit 5")
    await client.call(StartContainer(CONTAINER))
    assert (await client.exit()).exit_code == 5


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (CreateContainer("../c", "image", {}), "container_id: not within"),
        (CreateContainer("c", "../image", {}), "image_serial: not within"),
        (CreateContainer("c", "other", {}), "image other is not attached"),
        (CreateContainer("c", "image", []), "runtime-spec has no process"),
        (CreateContainer("c", "image", {"process": 1}), "runtime-spec has no process"),
        (
            CreateContainer("c", "image", {"process": {}, "linux": {"cgroupsPath": "/a/../../b"}}),
            "not the path of a cgroup",
        ),
        (CreateContainer("c", "image", {"process": {}}, User("nobody-here")), "no user 'nobody-here'"),
    ],
)
async def test_a_wrong_creation_is_refused_with_its_reason(
    client: Client, request_: CreateContainer, reason: str
) -> None:
    with pytest.raises(AgentRefused, match=reason):
        await client.call(request_)
    assert await states(client) == []


@pytest.mark.parametrize(
    ("user", "identity"),
    [
        (User(), "0 0 0 29"),
        (User("web"), "33 34 29 34 44"),
        (User("33"), "33 34 29 34 44"),
        (User("web:video"), "33 44 44"),
        (User("1234"), "1234 0 0"),
        (User("1234:web"), "1234 34 34"),
        (User("web", group="7"), "33 7 7 29 44"),
        (User("web", supplemental_groups=(5,), merge_image_groups=False), "33 34 5 34"),
    ],
)
async def test_a_user_is_looked_up_in_the_containers_own_files(client: Client, user: User, identity: str) -> None:
    await client.create("echo $(id -u) $(id -g) $(grep ^Groups: /proc/self/status | cut -f2)", user=user)
    assert (await finish(client)).decode().split() == identity.split()


async def test_containers_have_own_pids_and_roots_and_share_the_hostname(client: Client) -> None:
    await client.create("touch /mark; echo $$; hostname", container_id="c1")
    await client.create("ls /mark; echo $$; hostname", container_id="c2")
    seen = []
    for name in ("c1", "c2"):
        await client.call(StartContainer(name))
        seen.append(await (await client.stream(Stream.STDOUT, name)).read_all())
    assert seen[0] == seen[1]
    assert seen[0].startswith(b"1\n")


async def test_many_containers_run_at_once(client: Client) -> None:
    names = [f"c{number}" for number in range(12)]
    await asyncio.gather(*(client.create(f"echo {name}", container_id=name) for name in names))
    await asyncio.gather(*(client.call(StartContainer(name)) for name in names))
    streams = [await client.stream(Stream.STDOUT, name) for name in names]
    assert [await stream.read_all() for stream in streams] == [f"{name}\n".encode() for name in names]
    ended = [await client.exit() for _ in names]
    assert sorted(event.container_id for event in ended) == sorted(names)


async def test_an_image_in_use_is_not_detached(client: Client) -> None:
    await client.create("true")
    with pytest.raises(AgentRefused, match="disk image is used by c1") as refused:
        await client.call(DetachImage("image"))
    assert refused.value.code == "failed_precondition"
    await client.call(DeleteContainer(CONTAINER))
    await client.call(DetachImage("image"))
    with pytest.raises(AgentRefused, match="image image is not attached"):
        await client.create("true")


async def test_each_container_has_a_dev_null_of_its_own_behind_its_input(client: Client) -> None:
    before = Path("/dev/null").stat()
    inodes = set()
    for name in ("c1", "c2"):
        await client.create("stat -L -c '%t:%T %u %a %d.%i' /proc/self/fd/0; cat", name, user=User("web"))
        await client.call(StartContainer(name))
        printed = await (await client.stream(Stream.STDOUT, name)).read_all()
        number, owner, mode, inode = printed.decode().split()
        assert (number, owner, mode) == ("1:3", "0", "666")
        inodes.add(inode)
    after = Path("/dev/null").stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)
    assert len(inodes) == 2

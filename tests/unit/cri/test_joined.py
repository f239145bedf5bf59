"""The client of several runtimes at once, each behind a real socket."""

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.cri import IMAGE, Served, served
from tests.support.waiting import until
from vmsandbox.cri.client import CriClient, connected_to_all, dialling, events, joined
from vmsandbox.errors import NotFound, PermissionDenied, Unavailable
from vmsandbox.model import ContainerConfig, ContainerMetadata, PodSandboxConfig, PodSandboxMetadata

CONTAINER = ContainerConfig(ContainerMetadata("main"), IMAGE.id, command=("run",))


@dataclass
class Two:
    """A daemon and a `run`, and a client of both."""

    daemon: Served
    run: Served
    client: CriClient


@contextlib.asynccontextmanager
async def two(directory: Path) -> AsyncIterator[Two]:
    async with (
        served(directory / "daemon") as daemon,
        served(directory / "run", first_id=100) as run,
        connected_to_all(daemon.path, [run.path]) as client,
    ):
        yield Two(daemon, run, client)


def pod(name: str) -> PodSandboxConfig:
    return PodSandboxConfig(PodSandboxMetadata(name, f"uid-{name}", "default"))


async def test_pods_and_containers_of_all_runtimes_are_listed(tmp_path):
    async with two(tmp_path) as it:
        ids = [await it.daemon.sandbox("web"), await it.run.sandbox("job")]
        containers = [await it.daemon.container(ids[0]), await it.run.container(ids[1])]
        assert [each.id for each in await it.client.list_pod_sandboxes()] == ids
        assert [each.id for each in await it.client.list_containers()] == containers


async def test_a_call_goes_to_the_runtime_that_has_the_container(tmp_path):
    async with two(tmp_path) as it:
        container = await it.run.container(await it.run.sandbox("job"))
        result = await it.client.exec_sync(container, ("echo", "x"), 0)
        assert result.stdout == b"echo x"
        await it.client.stop_container(container, 3)
        assert ("stop_container", container, 3) in it.run.runtime.calls
        assert it.daemon.runtime.calls == []


async def test_a_call_goes_to_the_runtime_that_has_the_sandbox(tmp_path):
    async with two(tmp_path) as it:
        sandbox = await it.run.sandbox("job")
        assert (await it.client.pod_sandbox_status(sandbox)).config.metadata.name == "job"
        await it.client.stop_pod_sandbox(sandbox)
        await it.client.remove_pod_sandbox(sandbox)
        assert it.run.runtime.sandboxes == {}
        assert it.daemon.runtime.calls == []


async def test_new_pods_and_images_are_the_daemons(tmp_path):
    async with two(tmp_path) as it:
        it.daemon.images.held[IMAGE.id] = IMAGE
        it.run.images.held[IMAGE.id] = IMAGE
        sandbox = await it.client.run_pod_sandbox(pod("new"))
        assert sandbox in it.daemon.runtime.sandboxes
        assert [image.id for image in await it.client.images.list()] == [IMAGE.id]


async def test_what_no_runtime_has_is_not_found(tmp_path):
    async with two(tmp_path) as it:
        with pytest.raises(NotFound, match="there is no container nobody"):
            await it.client.container_status("nobody")


async def test_events_of_all_runtimes_come_together_and_go_on_when_one_ends(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(served(tmp_path / "daemon"))
        async with served(tmp_path / "run", first_id=100) as run:
            client = await stack.enter_async_context(connected_to_all(daemon.path, [run.path]))
            heard = await stack.enter_async_context(aclosing(client.events()))
            first = asyncio.ensure_future(anext(heard))
            await until(lambda: run.runtime.listeners and daemon.runtime.listeners)
            sandbox = await run.sandbox("job")
            assert (await first).container_id == sandbox
            second = asyncio.ensure_future(anext(heard))
        sandbox = await daemon.sandbox("web")
        async with asyncio.timeout(5):
            assert (await second).container_id == sandbox


async def test_a_runtime_that_ends_is_left_out_of_lists(tmp_path, caplog):
    async with contextlib.AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(served(tmp_path / "daemon"))
        async with served(tmp_path / "run", first_id=100) as run:
            client = await stack.enter_async_context(connected_to_all(daemon.path, [run.path]))
        sandbox = await daemon.sandbox("web")
        assert [each.id for each in await client.list_pod_sandboxes()] == [sandbox]
        assert caplog.text == ""
        run.path.touch()  # Like a process that was killed.
        assert [each.id for each in await client.list_pod_sandboxes()] == [sandbox]
        assert f"{run.path} is left out" in caplog.text


async def test_stopping_the_pod_of_a_run_that_has_just_ended_succeeds(tmp_path, caplog):
    async with contextlib.AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(served(tmp_path / "daemon"))
        async with served(tmp_path / "run", first_id=100) as run:
            client = await stack.enter_async_context(connected_to_all(daemon.path, [run.path]))
            sandbox = await run.sandbox("job")
            await client.list_pod_sandboxes()
        await client.stop_pod_sandbox(sandbox)
        assert await client.list_pod_sandboxes() == ()
        assert caplog.text == ""
        run.path.touch()  # It was killed: nobody knows what has become of its pod.
        with pytest.raises(Unavailable):
            await client.stop_pod_sandbox(sandbox)


async def test_stopping_a_pod_of_a_daemon_that_has_ended_is_an_error(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        run = await stack.enter_async_context(served(tmp_path / "run"))
        async with served(tmp_path / "daemon", first_id=100) as daemon:
            client = await stack.enter_async_context(connected_to_all(daemon.path, [run.path]))
            sandbox = await daemon.sandbox("web")
            await client.list_pod_sandboxes()
        with pytest.raises(Unavailable):
            await client.stop_pod_sandbox(sandbox)


async def test_waiting_for_a_container_ends_when_its_runtime_does(tmp_path, monkeypatch):
    monkeypatch.setattr(events, "LOOK_AGAIN", 0.1)
    async with contextlib.AsyncExitStack() as stack:
        daemon = await stack.enter_async_context(served(tmp_path / "daemon"))
        async with served(tmp_path / "run", first_id=100) as run:
            client = await stack.enter_async_context(connected_to_all(daemon.path, [run.path]))
            container = await run.container(await run.sandbox("job"))
            await client.list_containers()
            waiting = asyncio.ensure_future(client.wait_container(container))
            await until(lambda: run.runtime.listeners)
        async with asyncio.timeout(5):
            with pytest.raises(Unavailable):
                await waiting


async def test_a_runtime_that_does_not_answer_a_list_is_left_out(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(joined, "DEADLINE", 0.2)
    async with two(tmp_path) as it:
        sandbox = await it.daemon.sandbox("web")
        monkeypatch.setattr(it.run.runtime, "list_pod_sandboxes", _busy)
        monkeypatch.setattr(type(it.run.runtime), "pod_sandbox_status", lambda *_: pytest.fail("the daemon has it"))
        assert [each.id for each in await it.client.list_pod_sandboxes()] == [sandbox]
    assert "is left out" in caplog.text


def _busy():
    raise Unavailable("it is busy")


async def test_a_process_that_hangs_does_not_hold_up_the_others(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(dialling, "CONNECT_TIMEOUT", 0.2)
    hung = tmp_path / "hung.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.fspath(hung))
        listening.listen()
        async with served(tmp_path / "daemon") as daemon, connected_to_all(daemon.path, [hung]) as client:
            sandbox = await daemon.sandbox("web")
            assert [each.id for each in await client.list_pod_sandboxes()] == [sandbox]
    assert f"{hung} is left out" in caplog.text


async def test_a_socket_that_a_killed_process_left_is_passed_over(tmp_path, caplog):
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.fspath(dead))
    async with served(tmp_path / "daemon") as daemon, connected_to_all(daemon.path, [dead]) as client:
        assert await client.list_pod_sandboxes() == ()
    assert caplog.text == ""


async def test_without_a_daemon_the_pods_of_a_run_are_seen(tmp_path):
    async with served(tmp_path / "run") as run, connected_to_all(tmp_path / "none.sock", [run.path]) as client:
        sandbox = await run.sandbox("job")
        assert [each.id for each in await client.list_pod_sandboxes()] == [sandbox]


async def test_without_any_runtime_the_error_says_how_to_start_the_daemon(tmp_path):
    with pytest.raises(Unavailable, match="no daemon serves") as caught:
        async with connected_to_all(tmp_path / "none.sock", [tmp_path / "gone.sock"]):
            pytest.fail("there is nobody to connect to")
    assert "vmsandbox serve" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_a_user_without_the_right_to_the_socket_is_told_whose_it_is(tmp_path):
    async with served(tmp_path / "daemon") as daemon:
        for directory in daemon.path.parents:
            if directory.stat().st_uid == 0 and directory.is_relative_to("/tmp/pytest-of-root"):
                directory.chmod(0o711)
        groups = os.getgroups()
        os.setgroups([])
        os.setegid(65534)
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionDenied) as caught:
                async with connected_to_all(daemon.path, []):
                    pytest.fail("it is not this user's")
        finally:
            os.seteuid(0)
            os.setegid(0)
            os.setgroups(groups)
    assert re.search(rf"{daemon.path} belongs to root:root and has the mode 0660", str(caught.value))
    assert "sudo" in caught.value.hint
    assert "socket_group" in caught.value.hint

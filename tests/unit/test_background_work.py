"""Background work: an error in it is logged and ends only that work, never a watch over all."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.host import pod, running
from tests.support.waiting import until
from vmsandbox import aio
from vmsandbox.guest.streams.input import InputStream
from vmsandbox.hypervisor.libvirt import bindings, embedded, resync
from vmsandbox.hypervisor.libvirt.events import EventHub
from vmsandbox.model import SandboxState
from vmsandbox.sandbox.lifecycle.sandbox import Sandbox
from vmsandbox.sandbox.machines.machine import Machine
from vmsandbox.sandbox.streams.execs import Execs
from vmsandbox.sandbox.streams.output import OutputPump


async def test_an_error_that_ends_work_nobody_waits_for_is_logged_at_once(caplog):
    async def fails() -> None:
        raise KeyError("unexpected")

    async with aio.attendant(fails(), "the watch over something"):
        await until(lambda: "the watch over something: ended by an error" in caplog.text)
    assert "unexpected" in caplog.text


async def test_an_error_with_one_machines_end_hides_no_others(world, monkeypatch):
    async with world.daemon() as service:
        first, second = [await service.run_pod_sandbox(pod(name)) for name in ("first", "second")]
        failed = Machine.failed

        def failing(machine: Machine, event) -> None:
            if event.name == f"vmsandbox-{first}":
                raise UnicodeError("a console that is no text")
            failed(machine, event)

        monkeypatch.setattr(Machine, "failed", failing)
        world.hypervisor.kill(f"vmsandbox-{first}")
        world.hypervisor.kill(f"vmsandbox-{second}")
        for each in (first, second):
            await until(lambda each=each: service.pod_sandbox_status(each).state is SandboxState.NOTREADY)
        assert "UnicodeError" in service.pod_sandbox_status(first).message
        for each in (first, second):
            await service.remove_pod_sandbox(each)
        assert world.left() == []


async def test_an_event_that_cannot_be_handled_ends_its_sandbox_alone(world, monkeypatch):
    async with world.daemon() as service:
        quiet, other = [await service.run_pod_sandbox(pod(name)) for name in ("quiet", "other")]
        container = await running(service, other)

        async def failing(_: Sandbox, __: object) -> None:
            raise RecursionError("unexpected")

        monkeypatch.setattr(service._sandboxes[other].containers, "exited", lambda _: failing(None, None))
        await service._sandboxes[other].context.running().client.signal_container(container, 9)
        await until(lambda: service.pod_sandbox_status(other).state is SandboxState.NOTREADY)
        assert "RecursionError" in service.pod_sandbox_status(other).message
        assert service.pod_sandbox_status(quiet).state is SandboxState.READY


async def test_an_error_in_the_output_of_a_container_is_logged_at_once(world, monkeypatch, caplog):
    async def failing(_: OutputPump) -> None:
        raise ValueError("unexpected")

    monkeypatch.setattr(OutputPump, "run", failing)
    async with world.daemon() as service:
        container = await running(service, await service.run_pod_sandbox(pod()))
        await until(lambda: f"the output of container {container} is cut: ValueError: unexpected" in caplog.text)
        await service.stop_container(container, 0)
        assert (await service.wait_container(container)).exit_code == 137


async def test_an_error_in_ending_a_command_is_logged_and_the_command_forgotten(world, monkeypatch, caplog):
    caplog.set_level("INFO", "vmsandbox")

    async def failing(*_: object) -> None:
        raise OverflowError("unexpected")

    monkeypatch.setattr(Execs, "_hang_up", failing)
    async with world.daemon() as service:
        sandbox = await service.run_pod_sandbox(pod())
        container = await running(service, sandbox)
        execs = service._sandboxes[sandbox].context.running().execs
        async with execs.open(service._sandboxes.container(container).record, "host", ("sleep",)):
            pass
        await until(lambda: not execs._running)
        assert "was not seen to end: OverflowError('unexpected')" in caplog.text


async def test_an_error_in_delivering_input_is_told_to_the_writer(monkeypatch):
    async def failing(_: InputStream) -> None:
        raise KeyError("unexpected")

    monkeypatch.setattr("vmsandbox.guest.streams.input.Reopening.open", failing)
    async with InputStream("stdin of c", None, None) as stream:  # type: ignore[arg-type]
        with pytest.raises(Exception, match="unexpected"):
            async with asyncio.timeout(10):
                await stream.write(b"x" * (1 << 20))


async def test_machines_are_looked_at_again_after_an_error(monkeypatch):
    monkeypatch.setattr(resync, "_PAUSES", (0.0, 0.01))
    looked, opened = 0, asyncio.Event()

    async def failing() -> tuple[str, ...]:
        nonlocal looked
        looked += 1
        raise RuntimeError("unexpected")

    opened.set()
    async with aio.attendant(resync.keep_resyncing(EventHub(), failing, opened), "machines"):
        await until(lambda: looked == 2)
        opened.set()
        await until(lambda: looked > 2)


def test_a_log_that_cannot_be_cut_keeps_no_other_from_being_cut(tmp_path: Path) -> None:
    logs = tmp_path / "log/qemu"
    logs.mkdir(parents=True)
    (logs / "a.log").symlink_to("a.log")
    with (logs / "b.log").open("wb") as file:
        file.truncate(embedded.LOG_LIMIT + 1)
    embedded.cut_logs(tmp_path)
    assert (logs / "b.log").stat().st_size == 0


def test_libvirts_event_loop_goes_on_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[int] = []

    def turn() -> None:
        turns.append(1)
        raise KeyboardInterrupt if len(turns) == 3 else RuntimeError("unexpected")

    monkeypatch.setattr(bindings, "_PAUSE", 0)
    monkeypatch.setattr(bindings.libvirt, "virEventRunDefaultImpl", turn)
    with pytest.raises(KeyboardInterrupt):
        bindings._run()
    assert len(turns) == 3

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes.pod_observer import RecordingObserver
from tests.fakes.pod_runtime import FOREVER, FakePodRuntime, Script
from tests.support.cancelling import at_every_turn
from tests.support.manifests import CHECKOUT, SETTINGS, plan
from tests.support.waiting import until
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from vmsandbox.model import ExecResult, Output
from vmsandbox.pod.api.manifest import read_manifest
from vmsandbox.pod.plan.pod_plan import PodPlan, plan_pod
from vmsandbox.pod.run import Console, ContainerStreams, pod_life
from vmsandbox.pod.run.pod_life import EXIT_DEADLINE, EXIT_STOPPED, PodPhase, PodResult
from vmsandbox.pod.run.restarts import BackoffSettings
from vmsandbox.pod.run.runner import run_pod
from vmsandbox.pod.run.volumes import PodDirectories
from vmsandbox.protocol.messages import Stream

IMAGE = "localhost/a:1"
ONE = """\
restartPolicy: Never
containers: [{name: a, image: 'localhost/a:1'}]
"""
TWO = """\
restartPolicy: Never
containers: [{name: a, image: 'localhost/a:1'}, {name: b, image: 'localhost/a:1'}]
"""
HOOKED = """\
restartPolicy: Never
containers: [{{name: a, image: 'localhost/a:1', lifecycle: {{{}}}}}]
"""


class Running:
    """A pod with everything it runs on."""

    def __init__(self, directory: Path) -> None:
        self.runtime = FakePodRuntime()
        self.runtime.hold(IMAGE)
        self.observer = RecordingObserver()
        self.directories = PodDirectories(directory / "run", directory / "state", directory / "named")

    async def run(self, planned: PodPlan) -> PodResult:
        backoff = BackoffSettings(base=0.01, most=0.04)
        return await run_pod(planned, self.runtime, self.observer, self.directories, backoff)

    def events(self, *kinds: str) -> list[str]:
        return [event for event in self.observer.events if event.split()[0] in kinds]

    def nothing_is_left(self) -> bool:
        directories = (self.directories.runtime, self.directories.persistent)
        return not self.runtime.sandboxes and not any(directory.exists() for directory in directories)


@pytest.fixture
def running(tmp_path: Path) -> Running:
    return Running(tmp_path)


async def test_the_example_runs_to_its_end(running: Running) -> None:
    text = (CHECKOUT / "examples/hello-pod.yaml").read_text()
    running.runtime.hold("localhost/vmsandbox/hello:latest")
    running.runtime.scripts = {"web": [FOREVER], "client": [Script(((Stream.STDOUT, b"Hello\nagain"),))]}
    result = await running.run(plan_pod(read_manifest([("hello-pod.yaml", text)]), SETTINGS))
    assert (result.phase, result.exit_code) == (PodPhase.SUCCEEDED, 0)
    assert running.observer.events == [
        "held localhost/vmsandbox/hello:latest",
        "sandbox starting",
        "sandbox ready 10.0.0.2",
        "started web 0",
        "started client 0",
        "client: Hello",
        "client: again",
        "ended client 0 Completed",
        "ended web 143 Error",
    ]
    assert running.nothing_is_left()


class TestOrder:
    async def test_init_containers_run_one_after_the_other_and_sidecars_stay(self, running: Running) -> None:
        running.runtime.scripts = {"proxy": [FOREVER]}
        planned = plan(
            """
            restartPolicy: Never
            initContainers:
              - {name: first, image: localhost/a:1}
              - {name: proxy, image: localhost/a:1, restartPolicy: Always}
              - {name: second, image: localhost/a:1}
            containers: [{name: main, image: localhost/a:1}]
            """
        )
        await running.run(planned)
        assert running.events("started", "ended") == [
            "started first 0", "ended first 0 Completed",
            "started proxy 0",
            "started second 0", "ended second 0 Completed",
            "started main 0", "ended main 0 Completed",
            "ended proxy 143 Error",
        ]  # fmt: skip

    async def test_sidecars_are_stopped_in_reverse_after_the_containers(self, running: Running) -> None:
        running.runtime.scripts = {"one": [FOREVER], "two": [FOREVER]}
        planned = plan(
            """
            restartPolicy: Never
            terminationGracePeriodSeconds: 7
            initContainers:
              - {name: one, image: localhost/a:1, restartPolicy: Always}
              - {name: two, image: localhost/a:1, restartPolicy: Always}
            containers: [{name: main, image: localhost/a:1}]
            """
        )
        result = await running.run(planned)
        assert [call for call in running.runtime.calls if call.startswith("stop")] == [
            "stop two 7", "stop one 7", "stop sandbox",
        ]  # fmt: skip
        assert (result.phase, result.exit_code) == (PodPhase.SUCCEEDED, 0)
        assert result.containers["one"].exit_code == 143

    async def test_a_sidecar_that_ends_is_started_again_even_in_a_pod_that_never_restarts(
        self, running: Running
    ) -> None:
        running.runtime.scripts = {"side": [Script(exit_code=1), FOREVER], "main": [Script(runs=0.05)]}
        planned = plan(
            """
            restartPolicy: Never
            initContainers: [{name: side, image: localhost/a:1, restartPolicy: Always}]
            containers: [{name: main, image: localhost/a:1}]
            """
        )
        result = await running.run(planned)
        assert running.events("restarting") == ["restarting side 0"]
        assert result.phase is PodPhase.SUCCEEDED

    async def test_all_images_are_there_before_the_machine_starts(self, running: Running) -> None:
        running.runtime.offer("localhost/b:1")
        planned = plan(
            "restartPolicy: Never\ncontainers: [{name: a, image: 'localhost/a:1'}, {name: b, image: 'localhost/b:1'}]"
        )
        await running.run(planned)
        assert running.runtime.calls[:2] == ["pull localhost/b:1", "run sandbox"]
        assert "pulling localhost/b:1 1/2" in running.observer.events
        assert "pulled localhost/b:1" in running.observer.events


class TestEnd:
    @pytest.mark.parametrize(
        ("codes", "phase", "code"),
        [((0, 0), "Succeeded", 0), ((0, 3), "Failed", 3), ((2, 0), "Failed", 2)],
    )
    async def test_the_phase_and_exit_code_are_those_of_the_containers(
        self, running: Running, codes: tuple[int, int], phase: str, code: int
    ) -> None:
        running.runtime.scripts = {"a": [Script(exit_code=codes[0])], "b": [Script(exit_code=codes[1])]}
        result = await running.run(plan(TWO))
        assert (result.phase.value, result.exit_code, result.reason) == (phase, code, "")

    async def test_the_exit_code_is_that_of_the_container_that_failed_first(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(exit_code=3, runs=0.05)], "b": [Script(exit_code=4)]}
        assert (await running.run(plan(TWO))).exit_code == 4

    async def test_an_oom_killed_container_says_so(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(exit_code=137, reason="OOMKilled")]}
        await running.run(plan(TWO))
        assert "ended a 137 OOMKilled" in running.observer.events

    async def test_a_failed_init_container_of_a_pod_that_never_restarts_fails_the_pod(self, running: Running) -> None:
        running.runtime.scripts = {"side": [FOREVER], "init": [Script(exit_code=5)]}
        planned = plan(
            """
            restartPolicy: Never
            initContainers:
              - {name: side, image: localhost/a:1, restartPolicy: Always}
              - {name: init, image: localhost/a:1}
            containers: [{name: main, image: localhost/a:1}]
            """
        )
        result = await running.run(planned)
        assert (result.phase, result.exit_code) == (PodPhase.FAILED, 5)
        assert "started main 0" not in running.observer.events
        assert running.observer.events[-1] == "ended side 143 Error"
        assert running.nothing_is_left()

    async def test_a_failed_init_container_is_tried_again_where_the_policy_says_so(self, running: Running) -> None:
        running.runtime.scripts = {"init": [Script(exit_code=5), Script(exit_code=5), Script()]}
        planned = plan(
            """
            restartPolicy: OnFailure
            initContainers: [{name: init, image: localhost/a:1}]
            containers: [{name: main, image: localhost/a:1}]
            """
        )
        result = await running.run(planned)
        assert running.events("restarting") == ["restarting init 0", "restarting init 0.01"]
        assert result.phase is PodPhase.SUCCEEDED

    async def test_a_command_that_cannot_be_started_ends_its_container_with_the_reason(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(start_error=InvalidArgument("no such file: nope"))]}
        result = await running.run(plan(TWO))
        assert (result.phase, result.exit_code) == (PodPhase.FAILED, 128)
        assert result.containers["a"].message == "no such file: nope"


class TestRestarts:
    async def test_on_failure_restarts_what_failed_until_it_succeeds(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(exit_code=1), Script(exit_code=1), Script()]}
        result = await running.run(plan(ONE.replace("Never", "OnFailure")))
        assert running.events("started", "restarting") == [
            "started a 0", "restarting a 0", "started a 1", "restarting a 0.01", "started a 2",
        ]  # fmt: skip
        assert result.phase is PodPhase.SUCCEEDED

    async def test_a_container_is_removed_before_it_is_made_again(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(exit_code=1), Script()]}
        await running.run(plan(ONE.replace("Never", "OnFailure")))
        assert running.runtime.calls[1:-2] == ["create a", "start a", "remove a", "create a", "start a"]

    async def test_always_restarts_what_succeeded_and_the_delay_grows(self, running: Running) -> None:
        run = asyncio.create_task(running.run(plan(ONE.replace("Never", "Always"))))
        await running.observer.until("started a 5")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert running.events("restarting")[:5] == [
            f"restarting a {delay}" for delay in ("0", "0.01", "0.02", "0.04", "0.04")
        ]
        assert running.nothing_is_left()


class TestCancellation:
    async def test_containers_are_asked_to_end_and_nothing_is_left(self, running: Running) -> None:
        running.runtime.scripts = {"a": [FOREVER]}
        run = asyncio.create_task(running.run(plan(ONE)))
        await running.observer.until("started a 0")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert running.observer.events[-2:] == ["stopping: cancelled", "ended a 143 Error"]
        assert "stop a 30" in running.runtime.calls
        assert running.nothing_is_left()

    async def test_a_second_cancellation_does_not_wait_for_the_grace_period(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(runs=None, on_stop=None)]}
        run = asyncio.create_task(running.run(plan(ONE)))
        await running.observer.until("started a 0")
        run.cancel()
        await running.observer.until("stopping: cancelled")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await run
        assert running.nothing_is_left()

    async def test_a_container_that_does_not_end_is_killed_after_the_grace_period(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(runs=None, on_stop=None)]}
        run = asyncio.create_task(running.run(plan(ONE + "terminationGracePeriodSeconds: 0\n")))
        await running.observer.until("started a 0")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert "ended a 137 Error" in running.observer.events

    async def test_while_pulling_nothing_is_left(self, running: Running) -> None:
        async def pull(name, auth, progress):
            running.runtime.calls.append("pulling")
            await asyncio.Event().wait()

        running.runtime.pull_image = pull
        run = asyncio.create_task(running.run(plan(ONE.replace("a:1", "b:1"))))
        while not running.runtime.calls:
            await asyncio.sleep(0)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert running.nothing_is_left()

    async def test_at_boot_nothing_is_left(self, running: Running) -> None:
        running.runtime.boot = asyncio.Event()
        run = asyncio.create_task(running.run(plan(ONE)))
        await running.observer.until("sandbox starting")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert running.nothing_is_left()

    async def test_between_two_attempts_no_further_one_is_made(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(exit_code=1)]}
        run = asyncio.create_task(
            run_pod(
                plan(ONE.replace("Never", "Always")),
                running.runtime,
                running.observer,
                running.directories,
                BackoffSettings(base=600, most=600),
            )
        )
        await running.observer.until("restarting a 600")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await run
        assert running.events("started") == ["started a 0", "started a 1"]


class TestLimits:
    async def test_the_deadline_of_the_pod_ends_it(self, running: Running) -> None:
        running.runtime.scripts = {"a": [FOREVER]}
        result = await running.run(plan(ONE + "activeDeadlineSeconds: 1\n"))
        assert (result.phase, result.exit_code, result.reason) == (PodPhase.FAILED, EXIT_DEADLINE, "DeadlineExceeded")
        assert result.containers["a"].exit_code == 143

    async def test_a_volume_beyond_its_limit_ends_the_pod(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("vmsandbox.pod.run.pod_life.INTERVAL", 0.01)
        running.runtime.scripts = {"a": [FOREVER]}
        planned = plan(ONE + "volumes: [{name: v, emptyDir: {sizeLimit: 64Ki}}, {name: w, emptyDir: {}}]\n")
        run = asyncio.create_task(running.run(planned))
        await running.observer.until("started a 0")
        (running.directories.persistent / "volumes/w/large").write_bytes(b"x" * 200_000)
        await asyncio.sleep(0.2)
        assert not run.done()
        (running.directories.persistent / "volumes/v/large").write_bytes(b"x" * 200_000)
        result = await run
        assert (result.phase, result.reason, result.exit_code) == (PodPhase.FAILED, "Evicted", 137)
        assert "stopping: emptyDir volume v holds more than its limit of 65536 bytes" in running.observer.events


class TestFailures:
    async def test_the_death_of_the_machine_is_an_error_with_its_report(self, running: Running) -> None:
        running.runtime.scripts = {"a": [FOREVER], "b": [FOREVER]}
        run = asyncio.create_task(running.run(plan(TWO)))
        await running.observer.until("started b 0")
        running.runtime.kill_machine("the virtual machine ended: killed\nconsole:\n  panic")
        with pytest.raises(Unavailable) as raised:
            await run
        assert str(raised.value) == "the machine of pod default/p is gone"
        assert "panic" in raised.value.report()
        assert running.nothing_is_left()

    async def test_the_death_of_the_machine_between_two_attempts_is_an_error_as_well(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(exit_code=1)]}
        run = asyncio.create_task(running.run(plan(ONE.replace("Never", "Always"))))
        await running.observer.until("restarting a 0.04")
        running.runtime.kill_machine("gone")
        with pytest.raises(Unavailable, match="is gone"):
            await run

    async def test_an_image_that_is_nowhere_ends_it_before_the_machine_starts(self, running: Running) -> None:
        with pytest.raises(NotFound, match="no such image"):
            await running.run(plan(ONE.replace("a:1", "b:1")))
        assert running.runtime.calls == ["pull localhost/b:1"]
        assert running.nothing_is_left()

    async def test_an_image_that_cannot_be_pulled_but_is_held_says_how_it_is_used(self, running: Running) -> None:
        with pytest.raises(NotFound) as raised:
            await running.run(plan("containers: [{name: a, image: 'localhost/a:1', imagePullPolicy: Always}]"))
        assert "IfNotPresent" in raised.value.hint

    async def test_an_image_that_may_not_be_pulled_has_to_be_held(self, running: Running) -> None:
        with pytest.raises(NotFound, match="imagePullPolicy is Never"):
            await running.run(plan("containers: [{name: a, image: 'localhost/b:1', imagePullPolicy: Never}]"))
        assert running.runtime.calls == []

    async def test_a_container_that_cannot_be_made_ends_the_pod_with_the_error(self, running: Running) -> None:
        running.runtime.scripts = {"a": [FOREVER]}
        create = running.runtime.create_container

        async def refuse(sandbox_id, config):
            if config.metadata.name == "b":
                raise InvalidArgument("no command")
            return await create(sandbox_id, config)

        running.runtime.create_container = refuse
        with pytest.raises(InvalidArgument, match="no command"):
            await running.run(plan(TWO))
        assert running.nothing_is_left()

    async def test_an_observer_that_fails_ends_the_pod(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(((Stream.STDOUT, b"x\n"),), runs=None)]}

        async def fail(line):
            raise BrokenPipeError

        running.observer.output = fail
        with pytest.raises(BrokenPipeError):
            await running.run(plan(ONE))
        assert running.nothing_is_left()

    @pytest.mark.parametrize(("user", "said"), [("", "would run as root"), ("www", "may be root"), ("0:5", "as root")])
    async def test_run_as_non_root_refuses_the_images_user(self, running: Running, user: str, said: str) -> None:
        running.runtime.hold("localhost/u:1", user)
        with pytest.raises(FailedPrecondition, match=said):
            await running.run(plan(ONE.replace("a:1", "u:1") + "securityContext: {runAsNonRoot: true}\n"))
        assert "run sandbox" not in running.runtime.calls

    @pytest.mark.parametrize(("user", "more"), [("1000", ""), ("root", ", runAsUser: 5")])
    async def test_run_as_non_root_accepts_a_number(self, running: Running, user: str, more: str) -> None:
        running.runtime.hold("localhost/u:1", user)
        await running.run(plan(ONE.replace("a:1", "u:1") + f"securityContext: {{runAsNonRoot: true{more}}}\n"))


class TestHooks:
    async def test_post_start_runs_before_the_next_container_and_pre_stop_before_the_signal(
        self, running: Running
    ) -> None:
        running.runtime.scripts = {"side": [FOREVER]}
        planned = plan(
            """
            restartPolicy: Never
            initContainers:
              - name: side
                image: localhost/a:1
                restartPolicy: Always
                lifecycle: {postStart: {exec: {command: [up]}}, preStop: {exec: {command: [down]}}}
            containers: [{name: main, image: localhost/a:1}]
            """
        )
        await running.run(planned)
        assert running.runtime.calls[1:-2] == [
            "create side", "start side", "exec side up", "create main", "start main", "exec side down", "stop side 30",
        ]  # fmt: skip

    async def test_a_failing_post_start_hook_ends_its_container(self, running: Running) -> None:
        running.runtime.scripts = {"a": [FOREVER]}
        running.runtime.execs[("up",)] = ExecResult(b"", b"no\n", 1)
        planned = plan(HOOKED.format("postStart: {exec: {command: [up]}}"))
        result = await running.run(planned)
        assert result.exit_code == 143
        assert running.events("warning:") == [
            "warning: container a: postStart hook failed, the container is ended: the command ended with status 1: no"
        ]

    async def test_a_failing_pre_stop_hook_is_a_warning(self, running: Running) -> None:
        running.runtime.scripts = {"a": [FOREVER]}
        running.runtime.execs[("down",)] = NotFound("down: no such command")
        run = asyncio.create_task(running.run(plan(HOOKED.format("preStop: {exec: {command: [down]}}"))))
        await running.observer.until("started a 0")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert running.events("warning:") == ["warning: container a: preStop hook failed: down: no such command"]
        assert "ended a 143 Error" in running.observer.events

    async def test_a_container_that_ends_during_its_pre_stop_hook_is_not_waited_for(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(runs=0.3)]}
        run = asyncio.create_task(running.run(plan(HOOKED.format("preStop: {sleep: {seconds: 25}}"))))
        await running.observer.until("started a 0")
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(5):
                await run
        assert "ended a 0 Completed" in running.observer.events

    async def test_a_container_that_ends_during_its_post_start_hook_is_not_waited_for(self, running: Running) -> None:
        async with asyncio.timeout(5):
            result = await running.run(plan(HOOKED.format("postStart: {sleep: {seconds: 600}}")))
        assert result.phase is PodPhase.SUCCEEDED


class TestProbes:
    async def test_a_sidecar_has_started_when_its_startup_probe_has_succeeded(self, running: Running) -> None:
        running.runtime.scripts = {"side": [FOREVER]}
        running.runtime.execs[("up",)] = ExecResult(b"", b"", 1)
        tries = []

        def count(command: tuple[str, ...]) -> None:
            tries.append(running.runtime.running())
            if len(tries) == 2:
                running.runtime.execs[("up",)] = ExecResult(b"", b"", 0)

        running.runtime.on_exec = count
        planned = plan(
            """
            restartPolicy: Never
            initContainers:
              - name: side
                image: localhost/a:1
                restartPolicy: Always
                startupProbe: {exec: {command: [up]}, periodSeconds: 1}
            containers: [{name: main, image: localhost/a:1}]
            """
        )
        await running.run(planned)
        assert tries == [{"side"}, {"side"}]

    async def test_a_container_that_fails_its_liveness_probe_is_ended_and_started_again(self, running: Running) -> None:
        running.runtime.scripts = {"a": [FOREVER, Script()]}
        running.runtime.execs[("alive",)] = ExecResult(b"", b"dead", 1)
        planned = plan(
            """
            restartPolicy: OnFailure
            containers:
              - name: a
                image: localhost/a:1
                livenessProbe:
                  exec: {command: [alive]}
                  periodSeconds: 1
                  failureThreshold: 2
                  terminationGracePeriodSeconds: 3
            """
        )
        result = await running.run(planned)
        assert result.phase is PodPhase.SUCCEEDED
        assert running.events("warning:") == [
            "warning: container a: liveness probe failed: the command ended with status 1: dead; the container is ended"
        ]
        assert running.runtime.calls.count("exec a alive") >= 2
        assert "stop a 3" in running.runtime.calls


async def test_the_pods_own_hosts_file_is_mounted_where_it_has_aliases(running: Running) -> None:
    seen = []
    create = running.runtime.create_container

    async def look(sandbox_id, config):
        (mount,) = config.mounts
        assert mount.container_path == "/etc/hosts"
        seen.append(Path(mount.host_path).read_text())
        return await create(sandbox_id, config)

    running.runtime.create_container = look
    await running.run(plan(ONE + "hostAliases: [{ip: 192.0.2.1, hostnames: [db, db.local]}]\n"))
    assert "10.0.0.2\tp\nfd00::2\tp\n192.0.2.1\tdb\tdb.local\n" in seen[0]


async def test_the_image_is_named_by_its_id_and_variables_know_the_pods_address(running: Running) -> None:
    planned = plan(
        """
        restartPolicy: Never
        containers:
          - name: a
            image: localhost/a:1
            args: [$(IP)]
            env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
        """
    )
    await running.run(planned)
    (config,) = running.runtime.configs
    assert config.image == running.runtime.images[IMAGE].id
    assert config.user_specified_image == IMAGE
    assert config.args == ("10.0.0.2",)


async def test_a_termination_message_is_told_with_the_containers_end(running: Running) -> None:
    planned = plan(
        """
        restartPolicy: Never
        containers:
          - {name: a, image: localhost/a:1, terminationMessagePath: /message}
          - {name: b, image: localhost/a:1, terminationMessagePolicy: FallbackToLogsOnError}
        """
    )
    create = running.runtime.create_container

    async def write(sandbox_id, config):
        (mount,) = config.mounts
        if mount.container_path == "/message":
            Path(mount.host_path).write_text("broken")
        return await create(sandbox_id, config)

    running.runtime.create_container = write
    running.runtime.scripts = {"b": [Script(((Stream.STDERR, b"last\nwords\n"),), exit_code=1)]}
    result = await running.run(planned)
    assert {name: status.message for name, status in result.containers.items()} == {"a": "broken", "b": "last\nwords\n"}


async def test_a_volume_that_the_host_does_not_have_ends_it_before_the_machine_starts(running: Running) -> None:
    with pytest.raises(InvalidArgument, match=r"pod\.yaml:\d+: spec\.volumes\[0\]\.hostPath\.path: there is no /nope"):
        await running.run(plan(ONE + "volumes: [{name: v, hostPath: {path: /nope}}]\n"))
    assert "run sandbox" not in running.runtime.calls
    assert running.nothing_is_left()


async def test_a_cancellation_is_not_lost_at_any_turn_of_a_pod_and_leaves_nothing(running: Running) -> None:
    spec = """\
    restartPolicy: Never
    initContainers: [{name: i, image: 'localhost/a:1'}, {name: s, image: 'localhost/a:1', restartPolicy: Always}]
    containers: [{name: a, image: 'localhost/a:1'}]
    """

    async def work() -> None:
        try:
            await running.run(plan(spec))
        finally:
            assert running.nothing_is_left()

    await at_every_turn(work)


class TestAPodThatSomebodyElseStops:
    ALWAYS = "containers: [{name: a, image: 'localhost/a:1'}, {name: b, image: 'localhost/a:1'}]"

    async def test_its_containers_are_not_started_again(self, running: Running) -> None:
        running.runtime.scripts = {"a": [FOREVER], "b": [FOREVER]}
        pod = asyncio.create_task(running.run(plan(self.ALWAYS)))
        await until(lambda: running.runtime.running() == {"a", "b"})
        running.runtime.stop_by_another_hand()
        result = await pod
        assert (result.phase, result.exit_code) == (PodPhase.FAILED, 143)
        assert running.runtime.calls.count("create a") == running.runtime.calls.count("create b") == 1
        assert running.nothing_is_left()

    async def test_it_has_that_result_also_when_its_containers_end_well(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(runs=0.1)]}
        pod = asyncio.create_task(running.run(plan(ONE)))
        await until(lambda: running.runtime.running() == {"a"})
        for sandbox_id, status in running.runtime.sandboxes.items():
            running.runtime.sandboxes[sandbox_id] = replace(status, ending=True)
        result = await pod
        assert (result.phase, result.exit_code, result.reason) == (PodPhase.FAILED, EXIT_STOPPED, "Stopped")

    async def test_it_ends_although_a_container_waits_for_its_restart(
        self, running: Running, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pod_life, "LOOK_INTERVAL", 0.01)
        running.runtime.scripts = {"a": [Script(exit_code=1)], "b": [FOREVER]}
        backoff = BackoffSettings(base=1000, most=1000)
        work = run_pod(plan(self.ALWAYS), running.runtime, running.observer, running.directories, backoff)
        pod = asyncio.create_task(work)
        await until(lambda: running.runtime.calls.count("start a") == 2 and running.runtime.running() == {"b"})
        running.runtime.stop_by_another_hand()
        result = await asyncio.wait_for(pod, 30)
        assert (result.phase, result.exit_code, result.reason) == (PodPhase.FAILED, EXIT_STOPPED, "Stopped")
        assert "ended b 143 Error" in running.observer.events
        assert running.observer.events.count("restarting b 0") == 0
        assert running.nothing_is_left()


class ScriptedConsole(Console):
    """Types a word as soon as the container has started, and keeps what it prints."""

    def __init__(self, *, terminal: bool) -> None:
        self._terminal = terminal
        self.printed = b""

    @property
    def terminal(self) -> bool:
        return self._terminal

    async def talk(self, streams: ContainerStreams, started: asyncio.Event) -> None:
        await started.wait()
        await streams.write(b"typed")
        async for piece in streams.output() if self._terminal else _nothing():
            self.printed += piece.data


async def _nothing() -> AsyncIterator[Output]:
    for piece in ():
        yield piece


class TestConsole:
    PIECES = ((Stream.STDOUT, b"prompt "), (Stream.STDOUT, b"said\n"))
    INTERACTIVE = "restartPolicy: Never\ncontainers: [{name: a, image: 'localhost/a:1', stdin: true, tty: true}]\n"

    async def run(self, running: Running, spec: str, console: Console) -> PodResult:
        running.runtime.scripts = {"a": [Script(self.PIECES, exit_code=3, runs=0.05)]}
        return await run_pod(plan(spec), running.runtime, running.observer, running.directories, console=console)

    async def test_a_terminal_has_all_that_the_container_prints_and_its_input(self, running: Running) -> None:
        console = ScriptedConsole(terminal=True)
        result = await self.run(running, self.INTERACTIVE, console)
        assert result.exit_code == 3
        assert console.printed == b"prompt said\n"
        assert running.runtime.typed == [b"typed"]
        assert not running.observer.lines
        assert running.nothing_is_left()

    async def test_without_a_terminal_output_comes_in_lines_and_input_goes_in(self, running: Running) -> None:
        await self.run(running, self.INTERACTIVE, ScriptedConsole(terminal=False))
        assert running.runtime.typed == [b"typed"]
        assert [line.text for line in running.observer.lines] == [b"prompt said"]

    @pytest.mark.parametrize("spec", [ONE, TWO.replace("name: a,", "name: a, stdin: true,")])
    async def test_only_a_container_that_takes_input_and_is_alone_has_it(self, running: Running, spec: str) -> None:
        await self.run(running, spec, ScriptedConsole(terminal=True))
        assert not running.runtime.typed
        assert running.observer.lines

    async def test_a_container_that_cannot_start_does_not_keep_it_waiting(self, running: Running) -> None:
        running.runtime.scripts = {"a": [Script(start_error=InvalidArgument("no such program"))]}
        console = ScriptedConsole(terminal=False)
        spec = plan(self.INTERACTIVE)
        result = await run_pod(spec, running.runtime, running.observer, running.directories, console=console)
        assert result.exit_code == 128


async def test_a_pod_that_is_kept_leaves_its_sandbox_stopped_and_no_volumes(running: Running) -> None:
    await run_pod(plan(ONE), running.runtime, running.observer, running.directories, keep=True)
    assert running.runtime.calls[-1] == "stop sandbox"
    assert running.runtime.sandboxes
    assert not running.directories.runtime.exists()


async def test_a_pod_that_could_not_run_is_not_kept(running: Running) -> None:
    running.runtime.scripts = {"a": [FOREVER]}
    task = asyncio.create_task(run_pod(plan(ONE), running.runtime, running.observer, running.directories, keep=True))
    await running.observer.until("started a 0")
    running.runtime.kill_machine("it burnt")
    with pytest.raises(Unavailable):
        await task
    assert running.nothing_is_left()

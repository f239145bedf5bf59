"""The life of a container, and commands run in it."""

import time
import uuid

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb

from tests.standins import images
from tests.support.conformance_client import Container, Cri, Pod, eventually

LABELS = {"app": "conformance", "io.kubernetes.container.name": "described"}
ANNOTATIONS = {"example.org/note": "kept as it is"}
MIB = 1 << 20


def until_told(trap: str) -> tuple[str, ...]:
    """A command that goes on until a signal of its trap; it says when the trap is set."""
    return ("sh", "-c", f"{trap}; echo ready; while :; do sleep 0.1; done")


def wait_ready(container: Container) -> Container:
    eventually(lambda: container.log_file.exists() and "ready" in container.log_file.read_text())
    return container


def test_a_container_goes_through_its_states(cri: Cri, pod: Pod) -> None:
    container = pod.create(*until_told("trap 'exit 7' TERM"))
    created = container.status()
    assert (created.state, created.started_at, created.finished_at) == (pb.CONTAINER_CREATED, 0, 0)
    container.start()
    running = container.status()
    assert running.state == pb.CONTAINER_RUNNING
    assert running.created_at == created.created_at <= running.started_at
    wait_ready(container).stop()
    ended = container.status()
    assert (ended.state, ended.exit_code, ended.reason) == (pb.CONTAINER_EXITED, 7, "Error")
    assert ended.finished_at > ended.started_at
    container.stop()
    container.remove()
    container.remove()
    assert cri.list_containers(id=container.id) == []
    with pytest.raises(grpc.RpcError) as caught:
        container.status()
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_what_describes_a_container_is_kept(cri: Cri, pod: Pod) -> None:
    container = pod.create(labels=LABELS, annotations=ANNOTATIONS)
    (listed,) = cri.list_containers(id=container.id)
    for seen in (container.status(), listed):
        assert seen.metadata == container.config.metadata
        assert (dict(seen.labels), dict(seen.annotations)) == (LABELS, ANNOTATIONS)
        assert seen.image.image == images.BUSYBOX
    assert listed.pod_sandbox_id == pod.id
    assert container.status().log_path == str(container.log_file)
    container.remove()


def test_containers_are_filtered(cri: Cri, pod: Pod) -> None:
    created, running = pod.create(labels={"one": "1"}), pod.start(labels={"one": "1", "two": "2"})

    def found(**filters: object) -> set[str]:
        return {container.id for container in cri.list_containers(**filters)} & {created.id, running.id}

    assert found(pod_sandbox_id=pod.id) == {created.id, running.id}
    assert found(pod_sandbox_id=uuid.uuid4().hex) == set()
    assert found(state={"state": pb.CONTAINER_CREATED}) == {created.id}
    assert found(label_selector={"one": "1"}) == {created.id, running.id}
    assert found(label_selector={"one": "1", "two": "2"}) == {running.id}
    assert found(id=running.id[:12]) == {running.id}
    created.remove()
    running.remove()


@pytest.mark.parametrize("state", ["created", "running", "stopped"])
def test_a_container_is_removed_in_every_state(cri: Cri, pod: Pod, state: str) -> None:
    container = pod.create()
    if state != "created":
        container.start()
    if state == "stopped":
        container.stop(timeout=0)
    container.remove()
    assert cri.list_containers(id=container.id) == []


@pytest.mark.parametrize(("code", "reason"), [(0, "Completed"), (3, "Error")])
def test_an_end_has_its_code_and_its_reason(pod: Pod, code: int, reason: str) -> None:
    status = pod.run("sh", "-c", f"exit {code}").status
    assert (status.exit_code, status.reason) == (code, reason)


def test_a_container_that_ignores_its_signal_is_killed(pod: Pod) -> None:
    container = wait_ready(pod.start(*until_told("trap '' TERM")))
    started = time.monotonic()
    container.stop(timeout=1)
    assert 1 <= time.monotonic() - started < 20
    assert container.status().exit_code == 128 + 9
    container.remove()


def test_the_configured_signal_asks_a_container_to_end(pod: Pod) -> None:
    command = until_told("trap 'exit 4' USR1; trap '' TERM")
    container = wait_ready(pod.start(*command, stop_signal=pb.SIGUSR1))
    container.stop()
    assert container.status().exit_code == 4
    container.remove()


def test_limits_are_changed_while_a_container_runs(cri: Cri, pod: Pod) -> None:
    container = pod.start(linux={"resources": {"memory_limit_in_bytes": 32 * MIB}})
    limits = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"
    assert container.output("sh", "-c", limits) == f"{32 * MIB}\nmax 100000\n"
    changed = {"memory_limit_in_bytes": 48 * MIB, "cpu_quota": 50000, "cpu_period": 100000}
    cri.runtime.UpdateContainerResources(pb.UpdateContainerResourcesRequest(container_id=container.id, linux=changed))
    assert container.output("sh", "-c", limits) == f"{48 * MIB}\n50000 100000\n"
    assert container.status().resources.linux.memory_limit_in_bytes == 48 * MIB
    memory = cri.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=container.id)).stats.memory
    assert memory.available_bytes.value == 48 * MIB - memory.working_set_bytes.value, "the statistics follow"
    container.remove()


def test_a_command_that_is_not_there_fails_by_name(pod: Pod) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        pod.start("/no/such/program")
    assert "/no/such/program" in caught.value.details()


def test_the_image_says_what_runs_where_the_container_does_not(pod: Pod) -> None:
    ended = pod.run(image=images.NONEWPRIVS, command=[])
    assert (ended.status.exit_code, ended.stdout) == (0, "Effective uid: 0\n")


def test_environment_and_directory_are_the_containers(pod: Pod) -> None:
    envs = [{"key": "GREETING", "value": "hello = there"}]
    ended = pod.run("sh", "-c", 'echo "$GREETING" in $(pwd)', envs=envs, working_dir="/usr/bin")
    assert ended.stdout == "hello = there in /usr/bin\n"


def test_an_unknown_container_is_stopped_and_removed_but_not_found(cri: Cri, pod: Pod) -> None:
    unknown = Container(pod, uuid.uuid4().hex, pb.ContainerConfig())
    unknown.stop(timeout=0)
    unknown.remove()
    for call in (unknown.status, unknown.start, lambda: unknown.exec("true")):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_command_run_in_a_container_gives_its_outputs_and_code(waiting: Container) -> None:
    answer = waiting.exec("sh", "-c", "printf out; printf err >&2; exit 5")
    assert (answer.stdout, answer.stderr, answer.exit_code) == (b"out", b"err", 5)


def test_a_command_that_takes_too_long_is_killed(waiting: Container) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        waiting.exec("sleep", "4321", timeout=1)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert waiting.output("sh", "-c", "pgrep -f 'sleep [4]321' || true") == ""


def test_no_command_is_run_in_a_container_that_does_not_run(pod: Pod) -> None:
    container = pod.create()
    with pytest.raises(grpc.RpcError) as caught:
        container.exec("true")
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    container.remove()


def test_what_happens_to_a_container_is_told_to_those_who_listen(cri: Cri, pod: Pod) -> None:
    stream = cri.runtime.GetContainerEvents(pb.GetEventsRequest())
    seen: list[pb.ContainerEventResponse] = []
    container = pod.start("true")
    container.wait()
    container.remove()
    for event in stream:
        seen += [event] if event.container_id == container.id else []
        if seen and seen[-1].container_event_type == pb.CONTAINER_DELETED_EVENT:
            stream.cancel()
            break
    kinds = [pb.CONTAINER_CREATED_EVENT, pb.CONTAINER_STARTED_EVENT, pb.CONTAINER_STOPPED_EVENT]
    assert [event.container_event_type for event in seen] == [*kinds, pb.CONTAINER_DELETED_EVENT]
    assert all(event.created_at > 0 for event in seen)
    assert {event.pod_sandbox_status.id for event in seen} == {pod.id}


def test_statistics_are_those_of_the_containers_that_run(cri: Cri, pod: Pod) -> None:
    container, other = pod.start(labels={"measured": "yes"}), pod.start()
    stats = cri.runtime.ContainerStats(pb.ContainerStatsRequest(container_id=container.id)).stats
    assert stats.attributes.metadata == container.config.metadata
    assert stats.cpu.timestamp > 0 and stats.memory.timestamp > 0

    def measured(**filters: object) -> set[str]:
        request = pb.ListContainerStatsRequest(filter=filters)
        return {found.attributes.id for found in cri.runtime.ListContainerStats(request).stats}

    assert measured() >= {container.id, other.id}
    assert measured(id=container.id) == {container.id}
    assert measured(label_selector={"measured": "yes"}) == {container.id}
    assert eventually(lambda: measured(pod_sandbox_id=pod.id) >= {container.id, other.id})
    container.remove()
    other.remove()

"""`vmsandbox run`: real pods in real machines, how they end, and that nothing is left of them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.standins.images import BUSYBOX
from tests.support.modes import differences, readable_by_others
from tests.support.pods import SUBNET, Node
from vmsandbox import config
from vmsandbox.hypervisor.libvirt.one_thread import ONE_THREAD
from vmsandbox.node.modes import places

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="machines and their networks need root"),
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("nothing_is_left_of_pods"),
]


def container(name: str, script: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": BUSYBOX, "command": ["sh", "-c", script], **fields}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "test"},
        "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": list(containers), **spec},
    }


def wait_for(line: str, process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    for read in process.stdout:
        if line in read:
            return
    raise AssertionError(f"the pod ended without printing {line!r}: {process.stderr.read() if process.stderr else ''}")


def test_containers_share_volumes_and_localhost_but_not_their_memory(node: Node) -> None:
    writer = "echo shared >/data/file; wc -c </etc/config/greeting; nc -l -p 4000 -e cat; cat /secret/token"
    reader = "until cat /data/file; do sleep 0.1; done; until echo localhost | nc localhost 4000; do sleep 0.1; done"
    glutton = "i=0; while true; do x=$x$(printf %1000000s); done"
    volumes = [
        {"name": "data", "emptyDir": {}},
        {"name": "config", "configMap": {"name": "settings"}},
        {"name": "secret", "secret": {"secretName": "password"}},
    ]
    data = {"name": "data", "mountPath": "/data"}
    config = {"name": "config", "mountPath": "/etc/config"}
    secret = {"name": "secret", "mountPath": "/secret", "readOnly": True}
    limits = {"resources": {"limits": {"memory": "32Mi"}}}
    ran = node.run(
        pod(
            container("writer", writer, volumeMounts=[data, config, secret]),
            container("reader", reader, volumeMounts=[data]),
            container("glutton", glutton, **limits),
            volumes=volumes,
        ),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"greeting": "hello"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "password"}, "stringData": {"token": "s3cret"}},
    )
    lines = {line.partition(" | ")[2] for line in ran.stdout.splitlines()}
    assert ran.status == 137, ran.stderr
    assert {"shared", "5", "localhost", "s3cret"} <= lines
    assert "container glutton: OOMKilled, exit code 137" in ran.stderr


def test_a_container_without_memory_left_does_not_read_its_program_for_ever(node: Node) -> None:
    glutton = "while true; do x=$x$(printf %1000000s); done"  # alone: its program is in nobody else's memory
    ran = node.run(pod(container("glutton", glutton, resources={"limits": {"memory": "32Mi"}})))
    assert ran.status == 137, ran.stderr
    assert "container glutton: OOMKilled, exit code 137" in ran.stderr


def test_a_container_that_reads_files_larger_than_its_memory_is_not_killed(node: Node) -> None:
    write, read = "dd if=/dev/zero of=/file bs=1M count=40", "for i in 1 2 3; do cat /file; done | wc -c"
    reader = f"x=$(printf %8000000s); {write} && {read}"
    ran = node.run(pod(container("reader", reader, resources={"limits": {"memory": "32Mi"}})))
    assert ran.status == 0, ran.stderr
    assert f"{3 * 40 * 1024 * 1024}" in ran.stdout


def test_a_burst_of_output_arrives_whole_and_in_order_at_a_slow_reader(node: Node) -> None:
    count = 160_000  # lines of 100 digits: 16 MB
    script = f"awk 'BEGIN {{ for (i = 0; i < {count}; i++) printf \"%0100d\\n\", i }}'"
    with node.running(pod(container("burst", script))) as process:
        assert process.stdout is not None
        numbers = (int(line.partition(" | ")[2]) for line in slowly(process.stdout))
        assert list(numbers) == list(range(count))
        assert process.wait() == 0


def slowly(lines: Iterable[str]) -> Iterator[str]:
    """With pauses, so that what is on the way fills every buffer."""
    for index, line in enumerate(lines):
        if index % 2000 == 0:
            time.sleep(0.05)
        yield line


@pytest.mark.parametrize(
    ("program", "said"),
    [("qemu-system", "the virtual machine ended"), ("vhost-device-vsock", "vsock daemon")],
)
def test_a_machine_that_is_killed_ends_the_pod_with_an_error(node: Node, program: str, said: str) -> None:
    with node.running(pod(container("one", "echo running; sleep 1000"))) as process:
        wait_for("running", process)
        node.kill(program)
        assert process.wait(60) == 125
        assert process.stderr is not None
        assert said in process.stderr.read()


def test_a_container_that_is_killed_ends_as_killed_in_a_pod_with_kernel_boot_time_and_address(node: Node) -> None:
    victim = container("victim", "echo running; exec sleep 1000")
    killer = container("killer", "until kill -9 $(pgrep -x sleep); do sleep 0.2; done")
    manifest = node.directory / "timed.yaml"
    manifest.write_text(yaml.safe_dump(pod(victim, killer, shareProcessNamespace=True)))
    ran = node.vmsandbox("run", "--timings", str(manifest))
    assert "container victim: Error, exit code 137" in ran.stderr
    assert ran.status == 137
    assert "pod default/test: Linux 6." in ran.stderr
    assert f"{SUBNET}." in ran.stderr
    assert all(part in ran.stderr for part in ("prepare", "machine", "kernel", "agent", "first container"))


@pytest.mark.parametrize("after", [0.4, 1.0, 2.0, 4.0])
def test_ctrl_c_before_the_pod_runs_leaves_nothing(node: Node, after: float) -> None:
    with node.running(pod(container("one", "sleep 1000"))) as process:
        time.sleep(after)  # wherever it is then: reading, pulling, making the network, booting
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_a_run_makes_what_no_other_user_reads_and_ctrl_c_asks_its_pod_to_end(node: Node) -> None:
    secret = {"name": "secret", "secret": {"secretName": "password"}}
    data = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "password"}, "stringData": {"token": "hush"}}
    script = "trap 'echo asked to end; exit 0' TERM; echo running; while true; do sleep 0.1; done"
    mounts = [{"name": "secret", "mountPath": "/secret"}, {"name": "disk", "mountPath": "/disk"}]
    volumes = [secret, {"name": "disk", "emptyDir": {}}]
    running = pod(container("one", script, volumeMounts=mounts), volumes=volumes, terminationGracePeriodSeconds=30)
    with node.running(running, data) as process:
        wait_for("running", process)
        assert differences(places(config.load(node.directory / "config.yaml"))) == []
        readable = {Path(path).name for path in readable_by_others(node.directory / "run", node.directory / "state")}
        assert readable <= {ONE_THREAD}  # a program, which the users of QEMU start
        process.send_signal(signal.SIGINT)
        wait_for("asked to end", process)
        assert process.wait(30) == 130


def test_a_run_gives_back_what_a_killed_one_left_and_other_commands_reach_and_stop_its_pod(node: Node) -> None:
    with node.running(pod(container("one", "echo running; sleep 1000"))) as process:
        wait_for("running", process)
        process.kill()
    assert node.leftovers() != []
    assert "no daemon serves" in node.vmsandbox("ps").stderr
    script = "trap 'exit 0' TERM; echo running; while true; do sleep 0.1; done"
    with node.running(
        pod(container("two", script), restartPolicy="Always", terminationGracePeriodSeconds=30)
    ) as process:
        wait_for("running", process)
        assert (node.directory / "run/run/0/cri.sock").stat().st_mode & 0o777 == 0o600
        assert node.vmsandbox("ps", "--output", "name").stdout == "test/two\n"
        assert node.vmsandbox("exec", "test", "echo", "inside").stdout == "inside\n"
        assert node.vmsandbox("logs", "test").stdout == "running\n"
        stopped = node.vmsandbox("stop", "test")
        assert (stopped.status, stopped.stdout, stopped.stderr) == (0, "test\n", "")
        assert process.wait(30) == 143
        assert process.stderr is not None
        said = process.stderr.read()
        assert "the pod was stopped from outside" in said
        assert "nothing" not in said
    assert "no daemon serves" in node.vmsandbox("ps").stderr


def test_a_field_that_is_not_supported_is_named_before_anything_starts(node: Node, tmp_path: Path) -> None:
    ran = node.run(pod(container("one", "true", livenessProb={"exec": {}})))
    assert ran.status == 125
    assert "spec.containers[0].livenessProb" in ran.stderr
    assert "Traceback" not in ran.stderr

"""The callers of OCI runtimes on a host, which is a directory here, by the configurations of docs/oci.md."""

from pathlib import Path

from vmsandbox.model import Finding
from vmsandbox.node.check.callers import look

COMMAND = "/usr/local/bin/vmsandbox-oci"

CONFIGURATIONS = {
    "podman": (
        "etc/containers/containers.conf",
        f'[engine.runtimes]\nvmsandbox = ["{COMMAND}"]\ncrun = ["/bin/crun"]\n',
    ),
    "containerd": (
        "etc/containerd/config.toml",
        '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.machines]\nruntime_type = "io.containerd.runc.v2"\n'
        f'[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.machines.options]\nBinaryName = "{COMMAND}"\n',
    ),
    "crio": ("etc/crio/crio.conf.d/50.conf", f'[crio.runtime.runtimes.vmsandbox]\nruntime_path = "{COMMAND}"\n'),
    "dockerd": ("etc/docker/daemon.json", f'{{"runtimes": {{"vmsandbox": {{"path": "{COMMAND}"}}}}}}'),
}


def write(root: Path, path: str, content: str = "") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(content)


def install(root: Path, *programs: str) -> None:
    for program in programs:
        write(root, f"usr/bin/{program}")


def test_a_host_without_callers_has_nothing_to_say(tmp_path: Path) -> None:
    assert look(tmp_path) == ()


def test_each_caller_is_told_with_the_name_that_it_knows_the_command_by(tmp_path: Path) -> None:
    install(tmp_path, *CONFIGURATIONS)
    write(tmp_path, COMMAND.lstrip("/"))
    for path, content in CONFIGURATIONS.values():
        write(tmp_path, path, content)
    assert [finding.message.rpartition(": ")[2] for finding in look(tmp_path)] == [
        "podman --runtime vmsandbox",
        "the handler machines of its CRI",
        "the handler vmsandbox",
        "docker run --runtime vmsandbox",
    ]
    assert all(finding.ok and not finding.hint for finding in look(tmp_path))


def test_a_sandboxer_of_containerd_is_told_with_the_runtimes_that_have_it(tmp_path: Path) -> None:
    install(tmp_path, "containerd")
    runtimes = 'plugins."io.containerd.cri.v1.runtime".containerd.runtimes'
    plugins = '[proxy_plugins.machines]\ntype = "sandbox"\naddress = "/run/vmsandbox-containerd/containerd.sock"\n'
    ours = f'[{runtimes}.vms]\nruntime_type = "io.containerd.runc.v2"\nsandboxer = "machines"\n'
    theirs = f'[{runtimes}.runc]\nsandboxer = "podsandbox"\n'
    write(tmp_path, "etc/containerd/config.toml", plugins + ours + theirs)
    said = "containerd runs pods in machines by /run/vmsandbox-containerd/containerd.sock: the handler vms of its CRI"
    assert look(tmp_path) == (Finding(True, said),)


def test_a_caller_that_does_not_know_the_command_is_well(tmp_path: Path) -> None:
    install(tmp_path, "podman")
    assert look(tmp_path) == (Finding(True, "podman does not know vmsandbox-oci"),)


def test_a_command_that_is_missing_and_a_file_that_is_broken_are_notes(tmp_path: Path) -> None:
    install(tmp_path, "podman", "dockerd")
    write(tmp_path, *CONFIGURATIONS["podman"])
    write(tmp_path, "etc/docker/daemon.json", "{")
    podman, docker, _ = look(tmp_path)
    assert "which is missing" in podman.message and podman.hint == "make install"
    assert "daemon.json cannot be read" in docker.message and docker.ok and docker.hint

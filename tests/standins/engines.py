"""The layers with what makes and runs containers within a container: buildah, and docker with its daemon."""

from pathlib import Path

from tests.standins.workshop import Workshop, compile_static

DOCKER_PACKAGES = ("base-files", "busybox", "docker-cli", "docker.io", "iptables", "procps", "util-linux")
"""The packages that the layer `docker` needs in a workshop, and the layer below it, which has busybox."""

_DOCKER = (
    "usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/bin/docker", "usr/sbin/docker-proxy",
    "usr/sbin/dockerd", "usr/sbin/runc", "usr/sbin/xtables-nft-multi",
)  # fmt: skip
_TABLES = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")

_ENTRYPOINT = """\
#!/bin/sh
# As that of the image `docker:dind`: with cgroup v2 a group that has processes of its own hands no controllers on.
# dockerd gives a containerd that it starts itself 15 seconds, which an emulated machine may exceed.
set -e
mkdir -p /sys/fs/cgroup/init
for process in $(cat /sys/fs/cgroup/cgroup.procs); do echo $process >/sys/fs/cgroup/init/cgroup.procs || :; done
sed 's/ / +/g; s/^/+/' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
containerd &
while [ ! -S /run/containerd/containerd.sock ]; do sleep 0.5; done
exec "$@" --containerd /run/containerd/containerd.sock --storage-driver overlay2 --ip6tables=false
"""
_BUILDAH_FILES = {
    "etc/containers/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
    "etc/containers/registries.conf": "unqualified-search-registries = []\n",
    "etc/containers/storage.conf": '[storage]\ndriver = "overlay"\n'
    'graphroot = "/var/lib/containers/storage"\nrunroot = "/run/containers"\n',
}


def buildah(workshop: Workshop, tree: Path) -> None:
    """buildah, which looks for crun and netavark whatever it does, with its configuration."""
    for program in ("usr/bin/buildah", "usr/bin/crun", "usr/lib/podman/netavark"):
        workshop.take(program, tree)
    (tree / "var/tmp").mkdir(parents=True)
    for name, content in _BUILDAH_FILES.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)


def docker(workshop: Workshop, tree: Path) -> None:
    """docker and dockerd, started by `dockerd-entrypoint.sh`; and `answer`, a program that is an image by itself."""
    for program in _DOCKER:
        workshop.take(program, tree)
    for plugin in (workshop.root / "usr/lib/x86_64-linux-gnu/xtables").glob("*.so"):
        workshop.take(str(plugin.relative_to(workshop.root)), tree)
    for name in _TABLES:
        (tree / "usr/sbin" / name).symlink_to("xtables-nft-multi")
    entrypoint = tree / "usr/bin/dockerd-entrypoint.sh"
    entrypoint.write_text(_ENTRYPOINT)
    entrypoint.chmod(0o755)
    compile_static("nonewprivs.c", tree / "usr/bin/answer")

"""Volumes of pods on a real kernel: mounts of sub-paths, tmpfs of the host, owners."""

import os
import stat
from pathlib import Path

import pytest

from tests.support.manifests import plan
from vmsandbox.errors import InvalidArgument
from vmsandbox.pod.run.mounting import PodMounts
from vmsandbox.pod.run.volumes import PodDirectories, PodVolumes
from vmsandbox.sandbox.files.mountinfo import mounts_below

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts and changes owners: run as root")

CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: v}"


@pytest.fixture
def directories(tmp_path: Path) -> PodDirectories:
    return PodDirectories(tmp_path / "run", tmp_path / "state", tmp_path / "named")


async def made(directories: PodDirectories, spec: str, guest_tmpfs: bool = True) -> PodMounts:
    planned = plan(spec, CONFIG_MAP)
    volumes = PodVolumes(planned, directories, guest_tmpfs=guest_tmpfs)
    await volumes.make()
    return PodMounts(volumes, planned.facts, {})


async def sources(mounts: PodMounts, environment: dict[str, str] | None = None) -> list[Path]:
    return [
        Path(mount.host_path) for mount in await mounts.of(mounts.volumes.plan.spec.containers[0], environment or {})
    ]


async def test_a_sub_path_is_mounted_as_it_is_now(directories: PodDirectories) -> None:
    mounts = await made(
        directories,
        """
        containers:
          - name: a
            image: b
            env: [{name: NAME, value: web}]
            volumeMounts:
              - {name: disk, mountPath: /one, subPathExpr: $(NAME)/logs}
              - {name: files, mountPath: /etc/k, subPath: k}
        volumes: [{name: disk, emptyDir: {}}, {name: files, configMap: {name: c}}]
        """,
    )
    try:
        logs, key = await sources(mounts, {"NAME": "web"})
        inside = directories.persistent / "volumes/disk/web/logs"
        assert logs.stat().st_ino == inside.stat().st_ino
        assert key.read_text() == "v"
        inside.parent.rename(inside.parent.with_name("moved"))
        (directories.persistent / "volumes/disk/web").symlink_to("/etc")
        (logs / "file").write_text("x")
        assert (directories.persistent / "volumes/disk/moved/logs/file").read_text() == "x"
        with pytest.raises(InvalidArgument, match=r"pod\.yaml:\d+: .*subPathExpr: the sub-path 'web/logs' leads out"):
            await sources(mounts, {"NAME": "web"})
    finally:
        await directories.remove()
    assert not mounts_below(directories.runtime)
    assert not directories.runtime.exists()


async def test_the_sub_paths_of_an_attempt_replace_those_of_the_one_before(directories: PodDirectories) -> None:
    mounts = await made(
        directories,
        """
        containers: [{name: a, image: b, volumeMounts: [{name: v, mountPath: /one, subPath: x}]}]
        volumes: [{name: v, emptyDir: {}}]
        """,
    )
    try:
        for _ in range(3):
            (source,) = await sources(mounts)
            assert mounts_below(directories.runtime) == [source]
    finally:
        await directories.remove()


async def test_what_is_removed_is_not_what_is_mounted(directories: PodDirectories, tmp_path: Path) -> None:
    """The files of a hostPath stay, although a sub-path of it is mounted in the pod's directory."""
    kept = tmp_path / "host/sub/kept"
    kept.parent.mkdir(parents=True)
    kept.write_text("")
    mounts = await made(
        directories,
        f"""
        containers: [{{name: a, image: b, volumeMounts: [{{name: v, mountPath: /one, subPath: sub}}]}}]
        volumes: [{{name: v, hostPath: {{path: {tmp_path}/host}}}}]
        """,
    )
    assert ((await sources(mounts))[0] / "kept").exists()
    await directories.remove()
    assert kept.exists()


@pytest.mark.parametrize("sub_path", ["", ", subPath: x"], ids=["whole", "sub-path"])
async def test_memory_is_the_hosts_where_the_guest_cannot_have_it(directories: PodDirectories, sub_path: str) -> None:
    mounts = await made(
        directories,
        f"""
        containers: [{{name: a, image: b, volumeMounts: [{{name: v, mountPath: /one{sub_path}}}]}}]
        volumes: [{{name: v, emptyDir: {{medium: Memory, sizeLimit: 1Mi}}}}]
        """,
        guest_tmpfs=bool(sub_path),
    )
    try:
        (source,) = await sources(mounts)
        volume = directories.runtime / "volumes/v"
        assert os.path.ismount(volume)
        assert stat.S_IMODE(volume.stat().st_mode) == 0o777
        assert os.statvfs(source).f_blocks * os.statvfs(source).f_frsize == 1 << 20
    finally:
        await directories.remove()
    assert not volume.exists()


async def test_fs_group_owns_what_the_kubelet_gives_it(directories: PodDirectories) -> None:
    await made(
        directories,
        """
        securityContext: {fsGroup: 3000}
        containers: [{name: a, image: b}]
        volumes:
          - {name: disk, emptyDir: {}}
          - {name: files, configMap: {name: c, defaultMode: 0400}}
        """,
    )
    try:
        disk = (directories.persistent / "volumes/disk").stat()
        key = (directories.runtime / "volumes/files/k").stat()
        assert (disk.st_uid, disk.st_gid, stat.S_IMODE(disk.st_mode)) == (0, 3000, 0o2777)
        assert (key.st_uid, key.st_gid, stat.S_IMODE(key.st_mode)) == (0, 3000, 0o440)
    finally:
        await directories.remove()


async def test_what_is_roots_belongs_to_root_of_a_pod_with_users_of_its_own(directories: PodDirectories) -> None:
    await made(
        directories,
        """
        hostUsers: false
        securityContext: {fsGroup: 3000}
        containers: [{name: a, image: b}]
        volumes: [{name: files, configMap: {name: c, defaultMode: 0400}}]
        """,
    )
    try:
        key = (directories.runtime / "volumes/files/k").stat()
        assert (key.st_uid, key.st_gid, stat.S_IMODE(key.st_mode)) == (65536, 68536, 0o440)
    finally:
        await directories.remove()

import asyncio
import contextlib
import os
import stat
import threading
from pathlib import Path

import pytest

from tests.support.manifests import plan
from vmsandbox.errors import InvalidArgument
from vmsandbox.model import Image, Mount, PropagationMode
from vmsandbox.pod.plan.volume_plan import File
from vmsandbox.pod.run.files import VolumeOwner, write_files
from vmsandbox.pod.run.mounting import PodMounts
from vmsandbox.pod.run.subpath import open_below
from vmsandbox.pod.run.volumes import PodDirectories, PodVolumes


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def path_of(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


class TestFiles:
    def test_files_are_reached_through_links_and_have_their_modes(self, tmp_path):
        write_files(tmp_path, {"a": File(b"1", 0o400), "d/e/f": File(b"2", 0o755)}, VolumeOwner())
        assert (tmp_path / "a").read_bytes() == b"1"
        assert (tmp_path / "d/e/f").read_bytes() == b"2"
        assert os.readlink(tmp_path / "a") == "..data/a"
        assert os.readlink(tmp_path / "d") == "..data/d"
        assert (mode_of(tmp_path / "a"), mode_of(tmp_path / "d/e/f"), mode_of(tmp_path / "d/e")) == (
            0o400,
            0o755,
            0o755,
        )

    def test_what_is_written_again_replaces_all_of_it(self, tmp_path):
        write_files(tmp_path, {"a": File(b"1", 0o644), "b": File(b"1", 0o644)}, VolumeOwner())
        write_files(tmp_path, {"a": File(b"2", 0o644), "c": File(b"2", 0o644)}, VolumeOwner())
        visible = {path.name: path.read_bytes() for path in tmp_path.iterdir() if not path.name.startswith("..")}
        assert visible == {"a": b"2", "c": b"2"}
        assert len(list(tmp_path.glob("..[0-9]*"))) == 1

    def test_a_reader_sees_one_version_or_the_other(self, tmp_path):
        """All files through one look at `..data`, as an application that watches it does."""
        write_files(tmp_path, {name: File(b"0", 0o644) for name in "ab"}, VolumeOwner())
        torn, stop = [], threading.Event()

        def read() -> None:
            while not stop.is_set():
                with contextlib.ExitStack() as stack:
                    stack.enter_context(contextlib.suppress(FileNotFoundError))  # it was replaced and removed meanwhile
                    data = os.open(tmp_path / "..data", os.O_RDONLY)
                    stack.callback(os.close, data)
                    seen = {Path(f"/proc/self/fd/{data}/{name}").read_bytes() for name in "ab"}
                    if len(seen) > 1:
                        torn.append(seen)

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(50):
            write_files(tmp_path, {name: File(str(number).encode(), 0o644) for name in "ab"}, VolumeOwner())
        stop.set()
        reader.join()
        assert not torn

    def test_no_files_is_an_empty_volume(self, tmp_path):
        write_files(tmp_path, {}, VolumeOwner())
        assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("..")] == []


class TestSubPaths:
    def test_what_is_there_is_opened(self, tmp_path):
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "a/b/f").write_text("x")
        assert path_of(open_below(tmp_path, "a/b/f", create=False)) == str(tmp_path / "a/b/f")
        assert path_of(open_below(tmp_path, "./a//b/", create=False)) == str(tmp_path / "a/b")

    def test_what_is_missing_is_made_with_the_rights_of_the_volume(self, tmp_path):
        tmp_path.chmod(0o770)
        assert path_of(open_below(tmp_path, "new/deep", create=True)) == str(tmp_path / "new/deep")
        assert mode_of(tmp_path / "new/deep") == 0o770

    def test_what_is_missing_is_an_error_where_it_may_not_be_made(self, tmp_path):
        with pytest.raises(InvalidArgument, match="there is no 'new'"):
            open_below(tmp_path, "new", create=False)

    def test_links_within_the_volume_are_followed(self, tmp_path):
        write_files(tmp_path, {"app/settings": File(b"1", 0o644)}, VolumeOwner())
        opened = open_below(tmp_path, "app/settings", create=False)
        assert Path(path_of(opened)).read_bytes() == b"1"

    @pytest.mark.parametrize("target", ["/etc", "../..", "../sibling", "/proc/self/root/etc"])
    def test_a_link_out_of_the_volume_is_refused(self, tmp_path, target):
        volume = tmp_path / "volume"
        volume.mkdir()
        (tmp_path / "sibling").mkdir()
        (volume / "a").symlink_to(target)
        for path in ("a", "a/b"):
            with pytest.raises(InvalidArgument, match="leads out of its volume"):
                open_below(volume, path, create=True)
        assert list((tmp_path / "sibling").iterdir()) == []

    def test_a_chain_of_links_without_end_is_an_error(self, tmp_path):
        """Longer than Python's stack."""
        for number in range(1500):
            (tmp_path / f"l{number}").symlink_to(f"l{number + 1}")
        with pytest.raises(InvalidArgument, match="Too many levels of symbolic links"):
            open_below(tmp_path, "l0", create=True)

    def test_an_absolute_link_that_stays_in_the_volume_is_followed(self, tmp_path):
        (tmp_path / "d").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "d")
        assert path_of(open_below(tmp_path, "link/new", create=True)) == str(tmp_path / "d/new")

    def test_a_file_in_the_way_is_an_error(self, tmp_path):
        (tmp_path / "f").write_text("")
        with pytest.raises(InvalidArgument, match="leads through a file"):
            open_below(tmp_path, "f/x", create=True)

    def test_a_volume_that_is_a_file_has_no_sub_paths(self, tmp_path):
        (tmp_path / "f").write_text("")
        with pytest.raises(InvalidArgument, match="is not a directory"):
            open_below(tmp_path / "f", "x", create=True)

    def test_a_directory_that_becomes_a_link_meanwhile_never_leads_out(self, tmp_path):
        """A container may swap what it can write between any two steps."""
        volume, outside = tmp_path / "volume", tmp_path / "outside"
        volume.mkdir()
        (outside / "x").mkdir(parents=True)
        (volume / "d/x").mkdir(parents=True)
        (volume / "evil").symlink_to(outside)
        stop = threading.Event()

        def swap() -> None:
            while not stop.is_set():
                (volume / "d").rename(volume / "real")
                (volume / "evil").rename(volume / "d")
                (volume / "d").rename(volume / "evil")
                (volume / "real").rename(volume / "d")

        swapper = threading.Thread(target=swap)
        swapper.start()
        try:
            opened = tries = 0
            while tries < 300 or not opened:  # on a busy machine the swap can win each of the first
                tries += 1
                try:
                    descriptor = open_below(volume, "d/x", create=False)
                except InvalidArgument:
                    continue
                opened += 1
                inside = os.stat(f"/proc/self/fd/{descriptor}").st_ino
                os.close(descriptor)
                assert inside != (outside / "x").stat().st_ino
        finally:
            stop.set()
            swapper.join()


class TestVolumes:
    @pytest.fixture
    def directories(self, tmp_path: Path) -> PodDirectories:
        return PodDirectories(tmp_path / "run/pod", tmp_path / "state/pod", tmp_path / "named")

    async def made(self, directories: PodDirectories, spec: str, *more: str) -> PodMounts:
        planned = plan(spec, *more)
        volumes = PodVolumes(planned, directories, guest_tmpfs=True)
        await volumes.make()
        return PodMounts(volumes, planned.facts, {"i:1": Image("sha256:1")})

    async def test_mounts_follow_the_order_of_the_container(self, directories: PodDirectories) -> None:
        mounts = await self.made(
            directories,
            """
            containers:
              - name: a
                image: b
                securityContext: {privileged: true}
                volumeMounts:
                  - {name: disk, mountPath: /disk}
                  - {name: memory, mountPath: /memory, readOnly: true}
                  - {name: files, mountPath: /files}
                  - {name: host, mountPath: /host, readOnly: true, recursiveReadOnly: Enabled}
                  - {name: host, mountPath: /shared, mountPropagation: Bidirectional}
                  - {name: image, mountPath: /image, subPath: usr}
            volumes:
              - {name: disk, emptyDir: {}}
              - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
              - {name: files, configMap: {name: c}}
              - {name: host, hostPath: {path: /usr, type: Directory}}
              - {name: image, image: {reference: "i:1"}}
            """,
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: v}",
        )
        container = mounts.volumes.plan.spec.containers[0]
        disk, files = directories.persistent / "volumes/disk", directories.runtime / "volumes/files"
        assert await mounts.of(container, {}) == (
            Mount("/disk", host_path=str(disk)),
            Mount("/memory", tmpfs="memory", tmpfs_size=1 << 20, readonly=True),
            Mount("/files", host_path=str(files), readonly=True),
            Mount("/host", host_path="/usr", readonly=True, recursive_read_only=True),
            Mount("/shared", host_path="/usr", propagation=PropagationMode.BIDIRECTIONAL),
            Mount("/image", image="sha256:1", user_specified_image="i:1", image_sub_path="usr", readonly=True),
        )
        assert mode_of(disk) == 0o777
        assert (files / "k").read_text() == "v"
        assert (mode_of(directories.runtime), mode_of(directories.persistent)) == (0o700, 0o700)

    async def test_removal_leaves_nothing_and_may_be_repeated(self, directories: PodDirectories) -> None:
        await self.made(directories, "containers: [{name: a, image: b}]\nvolumes: [{name: v, emptyDir: {}}]")
        deep = directories.persistent / "volumes/v"
        descriptor = os.open(deep, os.O_RDONLY)
        for _ in range(3000):  # deeper than a path can say
            os.mkdir("d", dir_fd=descriptor)
            below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        os.symlink("/etc", "link", dir_fd=descriptor)
        os.close(descriptor)
        await directories.remove()
        await directories.remove()
        assert not directories.runtime.exists()
        assert not directories.persistent.exists()
        assert Path("/etc/passwd").exists()

    async def test_what_a_killed_process_left_goes_before(self, directories: PodDirectories) -> None:
        spec = "containers: [{name: a, image: b}]\nvolumes: [{name: v, emptyDir: {}}]"
        await self.made(directories, spec)
        (directories.persistent / "volumes/v/old").write_text("")
        await self.made(directories, spec)
        assert list((directories.persistent / "volumes/v").iterdir()) == []

    async def test_a_volume_is_updated_in_place(self, directories: PodDirectories) -> None:
        config_map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {k: v}"
        spec = "containers: [{name: a, image: b}]\nvolumes: [{name: v, configMap: {name: c}}]"
        mounts = await self.made(directories, spec, config_map)
        changed = plan(spec, config_map.replace("k: v", "k: w")).volumes["v"]
        mounts.volumes.update("v", changed)
        assert (directories.runtime / "volumes/v/k").read_text() == "w"

    @pytest.mark.parametrize(
        ("kind", "name", "error"),
        [
            ("", "f", ""),
            ("", "new", "there is no"),
            ("Directory", "d", ""),
            ("Directory", "f", "is not a directory"),
            ("DirectoryOrCreate", "new/deep", ""),
            ("DirectoryOrCreate", "f/x", "Not a directory"),
            ("File", "f", ""),
            ("File", "d", "is not a file"),
            ("FileOrCreate", "new", ""),
            ("FileOrCreate", "new/deep", "there is no"),
            ("Socket", "f", "is not a socket"),
            ("CharDevice", "f", "is not a character device"),
            ("BlockDevice", "f", "is not a block device"),
        ],
    )
    async def test_a_host_path_has_to_be_what_its_type_says(
        self, directories: PodDirectories, tmp_path: Path, kind: str, name: str, error: str
    ) -> None:
        (tmp_path / "d").mkdir()
        (tmp_path / "f").write_text("")
        host_path = f"{{path: {tmp_path}/{name}, type: '{kind}'}}"
        spec = f"containers: [{{name: a, image: b}}]\nvolumes: [{{name: v, hostPath: {host_path}}}]"
        if error:
            with pytest.raises(InvalidArgument, match=error):
                await self.made(directories, spec)
        else:
            await self.made(directories, spec)
            assert (tmp_path / name).exists()

    async def test_what_is_made_for_a_host_path_has_the_modes_that_a_kubelet_gives(
        self, directories: PodDirectories, tmp_path: Path
    ) -> None:
        volumes = [
            f"{{name: d, hostPath: {{path: {tmp_path}/new/deep, type: DirectoryOrCreate}}}}",
            f"{{name: f, hostPath: {{path: {tmp_path}/file, type: FileOrCreate}}}}",
        ]
        before = os.umask(0o077)
        try:
            await self.made(directories, f"containers: [{{name: a, image: b}}]\nvolumes: [{', '.join(volumes)}]")
        finally:
            os.umask(before)
        modes = {name: oct((tmp_path / name).stat().st_mode & 0o777) for name in ("new", "new/deep", "file")}
        assert modes == {"new": "0o755", "new/deep": "0o755", "file": "0o644"}

    async def test_a_volume_at_etc_hosts_wins_over_the_pods_own(self, directories: PodDirectories) -> None:
        mounts = await self.made(
            directories,
            """
            hostAliases: [{ip: 192.0.2.1, hostnames: [db]}]
            containers: [{name: a, image: b, volumeMounts: [{name: v, mountPath: /etc/hosts}]}, {name: c, image: b}]
            volumes: [{name: v, hostPath: {path: /etc/hosts}}]
            """,
        )
        first, second = mounts.volumes.plan.spec.containers
        assert [mount.host_path for mount in await mounts.of(first, {})] == ["/etc/hosts"]
        assert [mount.host_path for mount in await mounts.of(second, {})] == [str(directories.runtime / "hosts")]


async def test_volumes_are_made_one_pod_beside_the_other(tmp_path: Path) -> None:
    planned = plan("containers: [{name: a, image: b}]\nvolumes: [{name: v, emptyDir: {}}]")
    pods = [PodDirectories(tmp_path / f"run/{n}", tmp_path / f"state/{n}", tmp_path / "named") for n in range(3)]
    await asyncio.gather(*(PodVolumes(planned, pod, guest_tmpfs=True).make() for pod in pods))
    assert all((pod.persistent / "volumes/v").is_dir() for pod in pods)

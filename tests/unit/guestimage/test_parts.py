"""The pure parts of the guest image's build: apt's mirrors, the order of modules, the kernel's formats."""

import gzip
import lzma
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.errors import FailedPrecondition
from vmsandbox.guestimage import debian_kernel, mirrors, modules
from vmsandbox.guestimage.mirrors import Source

MAIN = Source("http://mirror.example/debian", "bookworm", ("main", "contrib"))
SECURITY = Source("http://mirror.example/security", "bookworm-security", ("main",))


def test_one_line_sources_are_read_without_comments_options_and_deb_src() -> None:
    text = """
    # deb http://old.example/debian bookworm main
    deb http://mirror.example/debian bookworm main contrib  # ours
    deb [arch=amd64 signed-by=/x.gpg] http://mirror.example/security bookworm-security main
    deb-src http://mirror.example/debian bookworm main
    """
    assert tuple(mirrors.parse_one_line(text)) == (MAIN, SECURITY)


def test_deb822_sources_are_read_with_continued_and_repeated_values() -> None:
    text = """Types: deb deb-src
# a comment
URIs: http://mirror.example/debian
 http://second.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://sources.example/debian
Suites: bookworm
Components: main
"""
    found = tuple(mirrors.parse_deb822(text))
    assert found[0] == MAIN
    assert [(s.uri.split("/")[2], s.suite) for s in found] == [
        ("mirror.example", "bookworm"),
        ("mirror.example", "bookworm-updates"),
        ("second.example", "bookworm"),
        ("second.example", "bookworm-updates"),
    ]


@given(st.text())
def test_any_text_can_be_read_as_sources(text: str) -> None:
    assert isinstance(tuple(mirrors.parse_deb822(text)), tuple)
    assert isinstance(tuple(mirrors.parse_one_line(text)), tuple)


def test_the_hosts_sources_come_from_all_of_apts_files(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text("deb http://a.example/ one main\n")
    (tmp_path / "sources.list.d" / "b.list").write_text("deb http://b.example/ two main\n")
    (tmp_path / "sources.list.d" / "c.sources").write_text(
        "Types: deb\nURIs: http://c.example/\nSuites: three\nComponents: main\n"
    )
    (tmp_path / "sources.list.d" / "d.list.save").write_text("deb http://d.example/ four main\n")
    assert [s.suite for s in mirrors.read_host_sources(tmp_path)] == ["one", "two", "three"]


def test_a_suite_comes_from_the_mirrors_of_the_hosts_own_release() -> None:
    other = Source("http://vendor.example/apt", "stable", ("main",))
    assert mirrors.sources_for("trixie", (other, SECURITY, MAIN), "bookworm") == (
        Source(MAIN.uri, "trixie", ("main",)),
        Source(SECURITY.uri, "trixie-security", ("main",)),
    )


def test_a_host_without_a_debian_mirror_is_told_to_name_one() -> None:
    with pytest.raises(FailedPrecondition) as error:
        mirrors.sources_for("trixie", (), "bookworm")
    assert "--mirror" in error.value.hint


def test_a_named_mirror_is_the_only_one() -> None:
    sources = mirrors.choose_sources("sid", "http://snapshot.example/")
    assert mirrors.sources_list(sources) == (
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://snapshot.example/ sid main\n"
    )


def test_a_mirror_of_the_environment_is_for_hosts_whose_apt_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mirrors.MIRROR, "http://mirror.example/debian")
    assert mirrors.choose_sources("sid") == (Source("http://mirror.example/debian", "sid", ("main",)),)
    assert mirrors.choose_sources("sid", "http://named.example/")[0].uri == "http://named.example/"


@pytest.mark.parametrize(("distribution", "codename"), [("debian", "trixie"), ("ubuntu", "")])
def test_mirrors_of_the_host_have_debian_where_the_host_is_debian(
    tmp_path: Path, distribution: str, codename: str
) -> None:
    release = tmp_path / "os-release"
    release.write_text(f'NAME="A b"\nVERSION_CODENAME=trixie\nID={distribution}\nID_LIKE=debian\n')
    assert mirrors.host_codename(release) == codename


DEPENDENCIES = modules.parse_dependencies(
    "kernel/drivers/virtio_scsi.ko.xz: kernel/scsi/scsi_mod.ko.xz kernel/scsi/scsi_common.ko.xz\n"
    "kernel/scsi/sd_mod.ko.xz: kernel/scsi/scsi_mod.ko.xz kernel/scsi/scsi_common.ko.xz\n"
    "kernel/scsi/scsi_mod.ko.xz: kernel/scsi/scsi_common.ko.xz\n"
    "kernel/scsi/scsi_common.ko.xz:\n"
    "kernel/net/virtio-net.ko:\n"
)


def _order(*wanted: str) -> list[str]:
    return [modules.module_name(path) for path in modules.load_order(wanted, DEPENDENCIES, ["kernel/fs/ext4.ko"])]


def test_modules_are_loaded_after_those_they_need_and_once() -> None:
    assert _order("sd_mod", "virtio_scsi") == ["scsi_common", "scsi_mod", "sd_mod", "virtio_scsi"]


def test_dashes_and_underscores_name_the_same_module() -> None:
    assert _order("virtio_net") == _order("virtio-net") == ["virtio_net"]


def test_a_module_built_into_the_kernel_is_not_loaded() -> None:
    assert _order("ext4") == []


def test_a_module_that_the_kernel_lacks_is_an_error() -> None:
    with pytest.raises(FailedPrecondition, match="no module zfs"):
        _order("zfs")


def test_modules_that_wait_are_installed_with_those_they_need(tmp_path: Path) -> None:
    release, installed = tmp_path / "6.1", tmp_path / "installed"
    (release / "kernel/net").mkdir(parents=True)
    (release / "kernel/net/bridge.ko.xz").write_bytes(lzma.compress(b"bridge"))
    (release / "kernel/stp.ko").write_bytes(b"stp")
    (release / "modules.dep").write_text("kernel/net/bridge.ko.xz: kernel/stp.ko\nkernel/stp.ko:\n")
    for name in ("modules.builtin", "modules.order"):
        (release / name).write_text("")
    modules.install_modules(["net/*"], release, installed)
    assert (installed / "kernel/net/bridge.ko").read_bytes() == b"bridge"
    assert (installed / "kernel/stp.ko").read_bytes() == b"stp"
    with pytest.raises(FailedPrecondition, match="no module gone"):
        modules.install_modules(["gone/*"], release, installed)


def test_modules_are_copied_uncompressed_with_their_order(tmp_path: Path) -> None:
    release = tmp_path / "kernel"
    release.mkdir()
    (release / "b.ko.xz").write_bytes(lzma.compress(b"module b"))
    (release / "a.ko").write_bytes(b"module a")
    (release / "modules.dep").write_text("b.ko.xz: a.ko\na.ko:\n")
    (release / "modules.builtin").write_text("")
    modules.copy_modules(["b"], release, tmp_path / "copied")
    assert (tmp_path / "copied" / "order").read_text() == "a.ko\nb.ko\n"
    assert (tmp_path / "copied" / "b.ko").read_bytes() == b"module b"


def _elf(*notes: tuple[bytes, int]) -> bytes:
    """An ELF image with one segment of notes, each with four bytes of content."""
    segment = b"".join(
        struct.pack("<III", len(name), 4, kind) + name.ljust((len(name) + 3) & ~3, b"\0") + b"\0\0\x10\0"
        for name, kind in notes
    )
    header = bytearray(64)
    header[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<Q", header, 0x20, 64)
    struct.pack_into("<HH", header, 0x36, 56, 1)
    return bytes(header) + struct.pack("<IIQQQQ", 4, 0, 120, 0, 0, len(segment)).ljust(56, b"\0") + segment


VMLINUX = _elf((b"Linux\0", 257), (b"Xen\0", 6), (b"Xen\0", 18))


def _bzimage(payload: bytes, protocol: int = 0x20F) -> bytes:
    header = bytearray(5 * 512)
    header[0x1F1] = 4
    header[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", header, 0x206, protocol)
    struct.pack_into("<II", header, 0x248, 16, len(payload) + 4)
    return bytes(header) + bytes(16) + payload + struct.pack("<I", 12345) + b"signature"


def _zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-cq"], input=content, capture_output=True, check=True).stdout


@pytest.mark.parametrize("compress", [gzip.compress, lzma.compress, _zstd])
async def test_vmlinux_comes_out_of_a_bzimage(compress) -> None:  # type: ignore[no-untyped-def]
    assert await debian_kernel.extract_vmlinux(_bzimage(compress(VMLINUX))) == VMLINUX


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "not a bzImage"),
        (bytes(4096), "not a bzImage"),
        (_bzimage(b"", protocol=0x207), "boot protocol 0x207"),
        (_bzimage(b"what is this"), "unknown way"),
        (_bzimage(gzip.compress(_elf((b"Linux\0", 18)))), "PVH"),
        (_bzimage(gzip.compress(b"no elf")), "PVH"),
    ],
)
async def test_a_kernel_that_cannot_be_started_directly_is_refused(image: bytes, reason: str) -> None:
    with pytest.raises(FailedPrecondition, match=reason):
        await debian_kernel.extract_vmlinux(image)

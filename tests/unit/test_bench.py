"""The report of `make bench`: ratios, tables, the page and the picture."""

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.performance.bench import bare, page
from tests.performance.bench.figures import HERE, THERE, Figure, Report
from tests.performance.bench.picture import drawn
from tests.performance.bench.spans import Span, calls
from tests.support.collector import Collector
from tests.support.generated import DOCS


def _report() -> Report:
    report = Report(3)
    report.compare("a pod", {HERE: [("Run", 9.0), ("Run", 3.0), ("Run", 4.0)], THERE: [("Run", 2.0), ("Run", 2.0)]})
    report.add("memory", "guest", "MiB", here=[104.0])
    report.memory = {"guest": 104.0, "QEMU": 30.0}
    report.spans = {"Run, cold": [Span("Run", 0, 4, 0), Span("boot {kernel} & agent", 1, 3, 1)]}
    return report


def test_a_ratio_is_that_of_medians() -> None:
    assert Figure("", "", here=[9, 3, 4], there=[2, 2]).ratio == 2


def test_a_figure_of_one_runtime_alone_has_no_ratio() -> None:
    assert Figure("", "", here=[1]).ratio is None


def test_the_page_gets_the_tables_between_its_markers_and_keeps_the_rest() -> None:
    written = page.updated(f"before\n{page.BEGIN}old\n{page.END}after\n", _report())
    assert written.startswith(f"before\n{page.BEGIN}") and written.endswith(f"{page.END}after\n")
    assert "| Run | 4.00 s | 2.00 s | 2.0 |" in written and "| guest | 104 MiB |  |  |" in written
    assert "old" not in written


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="the page has to hold"):
        page.updated("no markers", _report())


def test_the_page_of_the_documentation_has_the_markers() -> None:
    assert page.updated((DOCS / "performance.md").read_text(), _report())


def test_the_json_has_single_values() -> None:
    told = json.loads(_report().as_json())
    assert told["figures"][0] == {
        "section": "a pod", "name": "Run", "unit": "s", HERE: [9.0, 3.0, 4.0], THERE: [2.0, 2.0], "ratio": 2.0,
    }  # fmt: skip


def test_parts_of_a_run_are_merged_and_what_was_measured_last_counts() -> None:
    first, second = Report(5), Report(3, load=[1.0])
    first.add("files", "read", here=[1.0], there=[1.0])
    second.add("a pod", "Run", other="bare boot", here=[5.0], there=[2.5])
    second.merge(json.loads(_report().as_json()))
    second.merge(json.loads(first.as_json()))
    assert [(each.section, each.ratio, each.other) for each in second.figures] == [
        ("a pod", 2.0, "bare boot"),
        ("memory", None, THERE),
        ("files", 1.0, THERE),
    ]
    assert (second.memory, list(second.spans)) == ({"guest": 104.0, "QEMU": 30.0}, ["Run, cold"])
    assert "medians of 3" in second.conditions()
    assert json.loads(second.as_json())["spans"] == json.loads(_report().as_json())["spans"]


def test_the_picture_is_xml_with_a_bar_for_each_part() -> None:
    report = _report()
    picture = ElementTree.fromstring(drawn(report.spans, report.memory))
    assert len(picture.findall(".//{http://www.w3.org/2000/svg}rect")) == 1 + 1 + 2


class _Ended:
    def __init__(self, name: str, number: bytes, begin: int, end: int, above: bytes = b"", trace: bytes = b"t") -> None:
        self.name, self.span_id, self.parent_span_id, self.trace_id = name, number, above, trace
        self.start_time_unix_nano, self.end_time_unix_nano = begin, end


def test_the_parts_of_a_call_are_in_the_order_of_their_begin_with_their_depth() -> None:
    collector = Collector()
    collector.spans = [
        _Ended("guest: work", b"3", 6 * 10**9, 7 * 10**9, b"2"),
        _Ended("create", b"2", 6 * 10**9, 8 * 10**9, b"1"),
        _Ended("CreateContainer", b"1", 5 * 10**9, 9 * 10**9),
        _Ended("CreateContainer", b"4", 10**9, 2 * 10**9, trace=b"u"),
    ]
    (_, last) = calls(collector, "CreateContainer", 2)[::-1]
    assert last == [Span("CreateContainer", 0, 4, 0), Span("create", 1, 3, 1), Span("guest: work", 1, 2, 2)]


def test_a_figure_may_be_compared_with_something_else_than_a_runtime() -> None:
    report = Report(1)
    report.add("a cold start", "Run", other="a bare boot", here=[6.0], there=[4.0])
    assert "| a cold start | vmsandbox | a bare boot | ratio |" in report.table()
    assert json.loads(report.as_json())["figures"][0]["a bare boot"] == [4.0]


def test_a_bare_boot_has_the_qemu_of_its_pod_without_what_is_libvirts_or_the_pods() -> None:
    command = [
        "/usr/bin/qemu", "-name", "guest=pod", "-S", "-object", '{"qom-type":"secret","id":"key"}', "-smp", "8",
        "-no-hpet", "-chardev", "socket,id=fs,path=/run/fs", "-device", '{"driver":"vhost-user-fs-pci","chardev":"fs"}',
        "-device", "vhost-user-vsock-pci,chardev=fs", "-device", '{"driver":"virtio-rng-pci","rng":"rng0"}',
        "-blockdev", '{"filename":"/run/sandboxes/1/scratch.img","node-name":"file"}',
        "-blockdev", '{"node-name":"raw","file":"file"}', "-device", '{"driver":"scsi-hd","drive":"raw","id":"disk"}',
        "-initrd", "/initramfs.img",
    ]  # fmt: skip
    assert bare.bare_command(command, Path("/bare"))[:-4] == [
        "/usr/bin/qemu", "-smp", "8", "-no-hpet", "-device", '{"driver":"virtio-rng-pci","rng":"rng0"}',
        "-initrd", "/bare",
    ]  # fmt: skip


def test_the_init_of_a_bare_boot_prints_its_line_and_stays(tmp_path: Path) -> None:
    (tmp_path / "init").write_bytes(bare.init())
    (tmp_path / "init").chmod(0o700)
    with subprocess.Popen([tmp_path / "init"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == bare.LINE
        assert process.poll() is None
        process.kill()

"""The report of `make bench`: ratios, tables, the page and the picture."""

import json
from xml.etree import ElementTree

import pytest

from tests.performance.bench import page
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

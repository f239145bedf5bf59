"""The input of the builder of root images, and its errors."""

import json
from pathlib import Path

import pytest

from vmsandbox.errors import Internal, NotFound, ResourceExhausted
from vmsandbox.images.oci.documents import Malformed
from vmsandbox.images.rootfs.job import Failure, Job
from vmsandbox.images.rootfs.layers import RootLimit
from vmsandbox.images.rootfs.squashfs import write_squashfs
from vmsandbox.process import Account


def test_a_job_arrives_as_it_was_sent() -> None:
    job = Job(("sha256:0",), 3, 4, 5, RootLimit(size=1, memory=2), Account(5, 6))
    assert Job.from_bytes(job.to_bytes()) == job


@pytest.mark.parametrize("kind", [ResourceExhausted, NotFound, Internal])
def test_an_error_arrives_with_its_class_steps_hint_and_evidence(kind: type[Internal]) -> None:
    sent = kind("it failed", hint="try again", evidence={"seen": "line\nline"}).at("layer 1 of 2")
    error = Failure.in_text("a warning\n" + Failure.of(sent).to_line() + "\n")
    assert type(error) is kind
    assert error.report() == sent.report()


def test_a_malformed_layer_is_an_invalid_argument_to_the_caller() -> None:
    assert Failure.in_text(Failure.of(Malformed("bad")).to_line()).code == "invalid_argument"


@pytest.mark.parametrize(
    "stderr",
    ["", "Traceback: MemoryError", "{}", "[1]", json.dumps({"code": 1}), "{\n", "[" * 8000],
)
def test_an_error_that_is_not_ours_is_shown(stderr: str) -> None:
    error = Failure.in_text(stderr)
    assert type(error) is Internal
    assert error.evidence == {"stderr": stderr}


def test_a_stream_that_is_not_an_archive_is_an_error_with_the_tools_words(tmp_path: Path) -> None:
    with (tmp_path / "o").open("wb") as made, pytest.raises(Internal, match="tar2sqfs") as caught:
        write_squashfs([b"?" * 5000], made)
    assert caught.value.evidence["tar2sqfs"]


def test_an_error_of_the_stream_is_raised_when_the_tool_has_ended(tmp_path: Path) -> None:
    def stream():  # type: ignore[no-untyped-def]
        yield bytes(512)
        raise ResourceExhausted("enough")

    with (tmp_path / "o").open("wb") as made, pytest.raises(ResourceExhausted, match="enough"):
        write_squashfs(stream(), made)

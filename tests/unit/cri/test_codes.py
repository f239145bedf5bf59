"""Errors as gRPC statuses, and back."""

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox import errors
from vmsandbox.cri.codes import CODES, EVIDENCE_KEPT, code_of, details_of, error_of
from vmsandbox.errors import InvalidArgument, NotFound, Unavailable, VmsandboxError, error_of_code

ALL = VmsandboxError.__subclasses__()
line = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=20)


def test_every_error_has_a_code_of_its_own():
    assert set(CODES) == set(ALL)
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize("kind", ALL)
def test_the_code_is_the_one_of_the_same_name(kind):
    assert CODES[kind].name.lower() == kind.code
    assert error_of_code(kind.code) is kind


def test_a_child_of_an_error_has_its_parents_code():
    class Child(NotFound):
        pass

    assert code_of(Child("x")) is grpc.StatusCode.NOT_FOUND


@given(
    st.sampled_from(ALL),
    line,
    st.just("") | line,
    st.dictionaries(line, st.lists(line, min_size=1, max_size=3).map("\n".join), max_size=2),
)
def test_an_error_comes_back(kind, message, hint, evidence):
    error = kind(message, hint=hint, evidence=evidence)
    back = error_of(code_of(error), details_of(error))
    assert (type(back), back.message, back.hint, back.evidence) == (kind, message, hint, evidence)


def test_the_steps_of_an_error_are_part_of_its_message():
    error = InvalidArgument("no such user").at("container web").at("pod shop/web")
    assert details_of(error) == "pod shop/web: container web: no such user"


def test_of_long_evidence_the_end_is_kept():
    details = details_of(Unavailable("x", evidence={"console": "begin" + "." * 100_000 + "end"}))
    assert details.endswith("end")
    assert len(details) < EVIDENCE_KEPT + 100


def test_lines_of_evidence_are_kept_whole():
    lines = [f"line {number}" for number in range(1000)]
    kept = details_of(Unavailable("x", evidence={"console": "\n".join(lines)})).splitlines()[2:]
    assert kept == [f"  {line}" for line in lines[-len(kept) :]]
    assert len(kept) > 50


def test_a_code_that_has_no_error_is_internal():
    error = error_of(grpc.StatusCode.UNKNOWN, "")
    assert (type(error), error.message) == (errors.Internal, "UNKNOWN")


def test_a_connection_that_is_lost_is_told_in_our_words():
    said = "failed to connect to all addresses; last error: FAILED_PRECONDITION: unix:/x: Connection refused"
    error = error_of(grpc.StatusCode.UNAVAILABLE, said)
    assert str(error) == "the connection to the runtime is lost"
    assert str(error_of(grpc.StatusCode.UNKNOWN, "Stream removed (Socket closed)")) == str(error)
    assert "vmsandbox serve" in error.hint
    assert error.evidence == {"gRPC": said}
    assert str(error_of(grpc.StatusCode.UNAVAILABLE, "the daemon ends")) == "the daemon ends"

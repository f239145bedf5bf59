"""The English of pages, programs and tests can be read by somebody who sees the project for the first time."""

import pytest

from tests.english import BEGINNING, complaints, phrases


@pytest.mark.lint
def test_no_sentence_has_to_be_decoded() -> None:
    assert list(complaints()) == []


@pytest.mark.parametrize(
    "text",
    [
        "'1x' is no quantity",
        "a line that is none",
        "a lock held by who adds",
        "all files but for the log",
        "0 without a limit, as the kubelet has it",
        "All images are had first",
        "for limits that cannot be.",
        "the socket is not to be reached",
    ],
)
def test_a_phrase_that_has_to_be_decoded_is_found(text: str) -> None:
    assert len(list(phrases(text))) == 1


@pytest.mark.parametrize(
    "text", ["there is no image", "it is no longer there", "if there are none", "for whom", "the lock cannot be taken"]
)
def test_a_plain_phrase_is_not_found(text: str) -> None:
    assert list(phrases(text)) == []


def test_a_docstring_begins_with_a_verb_or_a_noun() -> None:
    assert BEGINNING.match("What is known of a container.")
    assert BEGINNING.match("Of its machine.")
    assert not BEGINNING.match("Return the status of a container.")

"""The pod and the container that messages are about."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Subject:
    """A pod, as Kubernetes calls it, and one of its containers."""

    pod_id: str
    """The id of the sandbox."""
    name: str = ""
    namespace: str = ""
    uid: str = ""
    container_id: str = ""
    container: str = ""
    """The name of the container; empty: the messages are about the pod as a whole."""


_subject: ContextVar[Subject | None] = ContextVar("subject", default=None)


@contextlib.contextmanager
def about(subject: Subject) -> Iterator[None]:
    """Messages of the body, and of the tasks that it starts, are about a pod or a container."""
    before = _subject.set(subject)
    try:
        yield
    finally:
        _subject.reset(before)


def current() -> Subject | None:
    """The subject of the messages here."""
    return _subject.get()

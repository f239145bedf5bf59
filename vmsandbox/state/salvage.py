"""The readable part of a damaged record of a sandbox or a container, so that its pod can be ended.

Each field is taken by itself, as far as it can be read. Nothing here raises.
"""

import contextlib
import json
from dataclasses import replace
from typing import Any, TypeVar, cast

from vmsandbox.model import (
    ContainerConfig,
    ContainerMetadata,
    ContainerState,
    ImageConfig,
    PodSandboxConfig,
    PodSandboxMetadata,
    SandboxState,
)
from vmsandbox.protocol.codec import hints
from vmsandbox.state.reading import read
from vmsandbox.state.records import ContainerRecord, SandboxRecord
from vmsandbox.state.stored_container import StoredContainer
from vmsandbox.state.stored_sandbox import StoredSandbox

T = TypeVar("T")

NAME = "unreadable"
"""Name and namespace of a pod whose record does not tell them any more; its sandbox's id is its UID then."""

REASON = "RecordUnreadable"
"""The reason of a container's end."""

EXIT_CODE = 255
"""The exit code of a container whose end is unknown."""


def sandbox(key: str, body: bytes, reason: str) -> SandboxRecord:
    """Return a NOTREADY sandbox with as much of its configuration as can be read, so that a kubelet knows its pod."""
    data = _object(body)
    told = _part(data.get("config"))
    metadata = _fields(PodSandboxMetadata, told.pop("metadata", None), name=NAME, uid=key, namespace=NAME)
    config = _fields(PodSandboxConfig, told, metadata=metadata)
    found = _fields(StoredSandbox, data, id=key, config=config, state="", created_at=0)
    state = SandboxState.NOTREADY.value
    return replace(found, id=key, state=state, secret="", message=reason).restored()


def container(key: str, body: bytes, reason: str) -> ContainerRecord | None:
    """Return an EXITED container, or None where the record does not tell its name and its sandbox any more."""
    data = _object(body)
    told = _part(data.get("config"))
    metadata = _fields(ContainerMetadata, told.pop("metadata", None), name="")
    config = _fields(ContainerConfig, told, metadata=metadata, image="")
    needed = {"id": key, "config": config, "image_config": ImageConfig(), "created_at": 0}
    texts = dict.fromkeys(("sandbox_id", "image_id", "image_ref", "log_path"), "")
    found = _fields(StoredContainer, data, **needed, **texts)
    if not found.config.metadata.name or not found.sandbox_id:
        return None
    state = ContainerState.EXITED.value
    at = found.finished_at or found.started_at or found.created_at or 1  # 0 would be: it still runs
    ended = replace(found, id=key, state=state, exit_code=EXIT_CODE, reason=REASON, message=reason, finished_at=at)
    return ended.restored()


def _object(body: bytes) -> dict[str, Any]:
    with contextlib.suppress(Exception):
        return _part(json.loads(body.decode()))
    return {}


def _part(data: object) -> dict[str, Any]:
    return dict(data) if isinstance(data, dict) else {}


def _fields(kind: type[T], data: object, **values: object) -> T:
    """Return a `kind` of the fields that can be read; `values` are those that it cannot do without."""
    fields = _part(data)
    for name, hint in hints(cast(type, kind)).items():
        if name in fields:
            with contextlib.suppress(Exception):
                values[name] = read(hint, fields[name], name)
    return kind(**values)

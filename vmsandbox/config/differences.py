"""How two configurations differ, and what a reload does with each difference."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from vmsandbox.config.declaring import Effect
from vmsandbox.config.settings import Config


@dataclass(frozen=True, slots=True)
class Change:
    """A setting that differs."""

    setting: str
    """The place in the file: `limits.memory`, `handlers.large`."""
    effect: Effect


def changes(before: Config, after: Config) -> tuple[Change, ...]:
    """All settings that differ, in the order of the file."""
    return tuple(_differences(before, after, ""))


def reloaded(before: Config, after: Config) -> Config:
    """The configuration in effect after a reload: `after`, with all that needs a restart as it was before."""
    kept = _reloaded(before, after)
    assert isinstance(kept, Config)
    return kept


def _reloaded(before: Any, after: Any) -> Any:
    kept = {}
    for field in dataclasses.fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if dataclasses.is_dataclass(old):
            kept[field.name] = _reloaded(old, new)
        elif field.metadata.get("effect") is Effect.RESTART:
            kept[field.name] = old
    return dataclasses.replace(after, **kept)


def _differences(before: Any, after: Any, prefix: str) -> Iterator[Change]:
    for field in dataclasses.fields(before):
        old, new, name = getattr(before, field.name), getattr(after, field.name), prefix + field.name
        if dataclasses.is_dataclass(old):
            yield from _differences(old, new, f"{name}.")
        elif isinstance(old, dict):
            differing = (key for key in {**old, **new} if old.get(key) != new.get(key))
            yield from (Change(f"{name}.{key}", Effect.NEW_PODS) for key in differing)
        elif old != new:
            yield Change(name, field.metadata["effect"])

"""How a setting is declared: beside its default stand its rule and what a reload does when it has changed."""

import enum
from collections.abc import Callable
from dataclasses import field
from typing import TypeVar

from vmsandbox.typed_yaml import Check

T = TypeVar("T")


class Effect(enum.Enum):
    """The effect of a reload (SIGHUP) on a setting that has changed."""

    AT_ONCE = "takes effect at once"
    NEW_PODS = "takes effect for new pods"
    RESTART = "needs a restart"


def setting(default: T, rule: Check | str, effect: Effect) -> T:
    """Declare a field with its default, its rule, and the effect of a reload; the metadata of the field hold both.

    Args:
        default: the value where the file has none.
        rule: of a value, or of each item of a tuple. A text says why there is none.
        effect: of a change.
    """
    metadata = {"effect": effect, **({"free": rule} if isinstance(rule, str) else {"check": rule})}
    return field(default=default, metadata=metadata)


def section(kind: Callable[[], T]) -> T:
    """Declare a field that has settings of its own."""
    return field(default_factory=kind)

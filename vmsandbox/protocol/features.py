"""The features of agents; Hello agrees on them (docs/protocol.md, "What may change"). Standard library only.

Every method is a feature of its own name. Others are named here, each with what came with it: fields of requests that
`Since` marks, or a way of doing things.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from vmsandbox.protocol.codec import hints

SOURCES_BY_DESCRIPTOR = "sources_by_descriptor"
"""The agent follows no link in the sources that it mounts from the share."""

BLOCK_DEVICES = "block_devices"
"""A container is given a disk as a device (`GuestDevice.disk`)."""

PRESSURE_AVERAGES = "pressure_averages"
"""The agent tells the averages of pressure, if it is asked for them (`MeasureContainers.averages`)."""

CPUSETS = "cpusets"
"""The agent maps the CPUs of the host that a container may use to those of the machine (`cpus`)."""

TIMED_ANSWERS = "timed_answers"
"""The agent tells how long the parts of a request took, if it is asked (`Envelope.timed`, `Envelope.parts`)."""

GUEST_COMMANDS = "guest_commands"
"""The agent runs commands in the guest itself (`GUEST`), if the host has allowed it (`ConfigureGuest.debug`)."""

CLAIMABLE = "claimable"
"""The agent seeds the kernel's random numbers by its secret, and waits for devices that are plugged in after that."""

DIRECTORY_ROOTS = "directory_roots"
"""The root of a container can be a directory of the host, in place of an image (`CreateContainer.root`)."""

WARMING_UP = "warming_up"
"""The agent does beforehand what makes the first container quicker, if it is told that the machine waits
(`ConfigureGuest.waits`)."""

CARD_FOR_ANY_POD = "card_for_any_pod"
"""The agent gives a network card that the machine had while it waited the MAC of its pod (`ConfigureGuest.card`)."""

FEATURES = frozenset(
    {
        SOURCES_BY_DESCRIPTOR,
        BLOCK_DEVICES,
        PRESSURE_AVERAGES,
        CPUSETS,
        TIMED_ANSWERS,
        GUEST_COMMANDS,
        CLAIMABLE,
        DIRECTORY_ROOTS,
        WARMING_UP,
        CARD_FOR_ANY_POD,
    }
)
"""The features that are not methods."""

BEFORE_FEATURES: Mapping[int, frozenset[str]] = {
    1: frozenset(),
    2: frozenset({SOURCES_BY_DESCRIPTOR, BLOCK_DEVICES}),
}
"""The features of agents whose version did not list them in Hello; their methods are found by trying."""


@dataclasses.dataclass(frozen=True, slots=True)
class Since:
    """Given to `Annotated`: the field of a request came with `feature`, and an agent without that refuses it by name.

    At its default a field is left out, so that any agent takes the request.
    """

    feature: str

    def holds(self, value: Any) -> bool:
        """Accept every value, in the interface of a `Bound`."""
        return True


def features_of(methods: Iterable[str]) -> tuple[str, ...]:
    """Return what an agent that has these methods says that it can do."""
    return tuple(sorted({*methods, *FEATURES}))


def needed(message: object) -> set[str]:
    """Return the features whose fields a request (or a part of one) sets."""
    if isinstance(message, tuple):
        return {feature for item in message for feature in needed(item)}
    if not dataclasses.is_dataclass(message) or isinstance(message, type):
        return set()
    found: set[str] = set()
    for field in dataclasses.fields(message):
        value = getattr(message, field.name)
        if value != field.default:
            bounds = get_args(hints(type(message))[field.name])
            found |= needed(value) | {bound.feature for bound in bounds if isinstance(bound, Since)}
    return found

"""The steps that take time while pods and containers are made: each is a figure and a span."""

import asyncio
import contextlib
import enum
import time
from collections.abc import Iterator, Mapping

from vmsandbox.errors import VmsandboxError
from vmsandbox.telemetry.declared import STEP_FAILURES, STEP_SECONDS
from vmsandbox.telemetry.metric import Counter, Histogram
from vmsandbox.telemetry.traces import past_span, span


class Step(enum.Enum):
    """A step of the making of a pod or of a container: the label's value, and what happens, for docs/metrics.md."""

    ADMISSION = "admission", "a pod waits for memory, and for a place among those that boot"
    NETWORK = "network", "the pod's network is made: namespace, CNI plugins, tap"
    VSOCK = "vsock", "the way to the agent is made: a CID, and the vsock daemon where there is one"
    DISK = "disk", "the scratch disk is made"
    RESTORE = "restore", "libvirt starts QEMU, which goes on from a template"
    CLAIM = "claim", "what makes a machine its pod's is plugged in"
    DOMAIN = "domain", "libvirt starts QEMU, whose guest is to boot"
    BOOT = "boot", "the kernel and the agent start, until the agent has answered"
    CONFIGURE = "configure", "the guest becomes the pod: name, addresses, file systems"
    PLUG = "plug", "the image of a container is plugged in"
    MOUNT = "mount", "the volumes of a container are mounted where the guest sees them"
    DEVICES = "devices", "raw block volumes are plugged in"
    CREATE = "create", "the agent makes the bundle, and crun the container"
    START = "start", "the agent lets the container run, which crun has made"

    def __init__(self, label: str, meaning: str) -> None:
        """See the class."""
        self.label = label
        self.meaning = meaning


@contextlib.contextmanager
def step(which: Step) -> Iterator[None]:
    """Measure the body as a step, and make a span of it. A failure counts by its code; a cancellation does not."""
    begin = time.monotonic()
    with span(which.label):
        try:
            yield
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                STEP_FAILURES.add(which.label, code_of(error))
            raise
        STEP_SECONDS.observe(time.monotonic() - begin, which.label)


@contextlib.contextmanager
def outcome(name: str, counter: Counter, duration: Histogram, *labels: str) -> Iterator[None]:
    """Count the body with its code as the last label, measure it if it succeeds, and make a span of it."""
    begin, code = time.monotonic(), "ok"
    try:
        with span(name):
            yield
        duration.observe(time.monotonic() - begin, *labels)
    except BaseException as error:
        code = "cancelled" if isinstance(error, asyncio.CancelledError) else code_of(error)
        raise
    finally:
        counter.add(*labels, code)


def code_of(error: BaseException) -> str:
    """Return the value of a label `code` for an error: a word of `errors`."""
    if isinstance(error, VmsandboxError):
        return error.code
    return "deadline_exceeded" if isinstance(error, TimeoutError) else "internal"


def phases(taken: Mapping[str, float]) -> None:
    """Make spans of the parts, each after the one before, of which the last has ended now; seconds."""
    ago = sum(taken.values())
    for name, seconds in taken.items():
        past_span(name, ago, ago - seconds)
        ago -= seconds


def guest_phases(told: Mapping[str, float], elapsed: float) -> None:
    """Make spans of the parts of a request that has just been answered, which took `elapsed` seconds by our clock.

    A guest tells how long they took. It is believed as far as that fits into the time that has passed; the way to the
    guest and back takes the rest, half before the parts and half after them.
    """
    believed: dict[str, float] = {}
    for name, seconds in told.items():
        believed[name] = min(seconds, elapsed - sum(believed.values()))
    ago = (elapsed + sum(believed.values())) / 2
    for name, seconds in believed.items():
        past_span(f"guest: {name}", ago, ago - seconds)
        ago -= seconds

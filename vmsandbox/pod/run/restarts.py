"""When a container is started again, and how long after its end, as the kubelet does it."""

from dataclasses import dataclass

from vmsandbox.pod.api import RestartPolicy


def restarts(policy: RestartPolicy, exit_code: int) -> bool:
    """Whether a container that has ended is started again."""
    return policy is RestartPolicy.ALWAYS or (policy is RestartPolicy.ON_FAILURE and exit_code != 0)


@dataclass(frozen=True, slots=True)
class BackoffSettings:
    """The kubelet's back-off, seconds."""

    base: float = 10
    most: float = 300


class Backoff:
    """The delays of one container: none before the first restart, then `base`, doubling up to `most`.

    A container that ran for twice `most` has recovered, and begins anew.
    """

    def __init__(self, settings: BackoffSettings) -> None:
        """Begin without restarts."""
        self._settings = settings
        self._next = 0.0

    def delay(self, ran: float) -> float:
        """Seconds from the container's end to its restart, after it ran for `ran` seconds."""
        if ran >= 2 * self._settings.most:
            self._next = 0.0
        delay = self._next
        self._next = min(max(delay * 2, self._settings.base), self._settings.most)
        return delay

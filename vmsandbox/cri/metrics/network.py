"""Network metrics. The containers of a pod share one interface, so these are metrics of the sandbox."""

from collections.abc import Callable, Iterator

from vmsandbox.cri.metrics.metric import COUNTER, Metric
from vmsandbox.model import InterfaceUsage


def _both(name: str, what: str, counted: str) -> Iterator[Metric[InterfaceUsage]]:
    def reading(field: str) -> Callable[[InterfaceUsage], dict[tuple[str, ...], int]]:
        return lambda usage: {(usage.name,): getattr(usage, field)}

    for direction, came, field in (("receive", "came to", "rx"), ("transmit", "were sent by", "tx")):
        yield Metric(
            f"container_network_{direction}_{name}_total",
            f"{what.format(came)} the pod.",
            COUNTER,
            reading(f"{field}_{counted}"),
            ("interface",),
        )


NETWORK: tuple[Metric[InterfaceUsage], ...] = (
    *_both("bytes", "Bytes that {}", "bytes"),
    *_both("packets", "Packets that {}", "packets"),
    *_both("errors", "Packets with errors that {}", "errors"),
    *_both("packets_dropped", "Packets that were dropped of those that {}", "dropped"),
)

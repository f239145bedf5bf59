"""Rules that settings break together, each told at the line of the setting that is to be changed first."""

from collections.abc import Iterator

from vmsandbox.config import rules
from vmsandbox.config.settings import LEAST_MEMORY, MACHINE_HANDLER, MOST_MEMORY, Config, MetricsConfig
from vmsandbox.errors import InvalidArgument
from vmsandbox.typed_yaml import YamlNode

_LAST_USER = (1 << 31) - 1


def contradictions(config: Config, place: YamlNode) -> Iterator[InvalidArgument]:
    """All that is wrong with settings that are right each for itself; `place` is the document's."""
    yield from _handler_names(config, place.of("handlers"))
    for handler in config.machine_handlers:
        yield from _memory(config, handler, place)
        yield from _most(config, handler, place)
        yield from _pool(config, handler, place)
    last = config.users.first + config.users.count - 1
    if last > _LAST_USER:
        yield place.of("users").error(f"the last user would be {last}, and the largest number is {_LAST_USER}")
    yield from _tls(config, place.of("streaming"))
    yield from _metrics(config.metrics, place.of("metrics").of("tls"))
    yield from _delegate(config, place.of("delegate"))


def _handler_names(config: Config, place: YamlNode) -> Iterator[InvalidArgument]:
    for handler in config.handlers:
        if wrong := rules.handler(handler):
            yield place.of(handler).error(wrong)


def _memory(config: Config, handler: str, place: YamlNode) -> Iterator[InvalidArgument]:
    if handler and handler not in config.handlers:
        return  # The same as that of the empty handler.
    own, limit = (place.of("handlers").of(handler) if handler else place.of("machine")), config.limits.memory
    machine = config.machine_of(handler)
    total = machine.memory + machine.overhead
    if not LEAST_MEMORY <= total <= MOST_MEMORY:
        bounds = f"at least {rules.quantity(LEAST_MEMORY)}, and at most {rules.quantity(MOST_MEMORY)}"
        yield own.of("memory").error(f"memory and overhead are together {bounds}, not {rules.quantity(total)}")
    elif limit is not None and total > limit:
        which = f"a machine of {handler}" if handler else "a machine"
        takes = f"{which} takes, which is {rules.quantity(total)} with its overhead"
        yield place.of("limits").of("memory").error(f"{rules.quantity(limit)} is less than {takes}")


def _most(config: Config, handler: str, place: YamlNode) -> Iterator[InvalidArgument]:
    """Find bounds that leave no room for a machine of the default size, or for one that boots."""
    if handler and handler not in config.handlers:
        return  # The same as that of the empty handler.
    own = place.of("handlers").of(handler) if handler else place.of("machine")
    machine = config.machine_of(handler)
    if machine.max_vcpus is not None and machine.max_vcpus < machine.vcpus:
        yield own.of("max_vcpus").error(f"{machine.max_vcpus} is less than vcpus, which is {machine.vcpus}")
    least = max(machine.memory + machine.overhead, machine.boot_memory)
    if machine.max_memory is not None and machine.max_memory < least:
        takes = f"a machine without limits takes, which is {rules.quantity(least)}"
        yield own.of("max_memory").error(f"{rules.quantity(machine.max_memory)} is less than {takes}")


def _pool(config: Config, handler: str, place: YamlNode) -> Iterator[InvalidArgument]:
    """Find a pool that has not even room for one machine."""
    if handler and (handler not in config.handlers or config.handlers[handler].pool is None):
        return  # The same as that of the empty handler.
    own = place.of("handlers").of(handler) if handler else place.of("machine")
    machine = config.machine_of(handler)
    most, least = machine.pool.memory_max, min(machine.memory + machine.overhead, machine.boot_memory)
    if machine.pool.size and most is not None and most < least:
        takes = f"a machine that waits takes, which is {rules.quantity(least)} at least"
        yield own.of("pool").of("memory_max").error(f"{rules.quantity(most)} is less than {takes}")


def _tls(config: Config, place: YamlNode) -> Iterator[InvalidArgument]:
    certificate, key = config.streaming.tls_certificate, config.streaming.tls_key
    if (certificate is None) != (key is None):
        missing = "tls_key" if key is None else "tls_certificate"
        yield place.of(missing).error("tls_certificate and tls_key go together, and this one is missing")


def _metrics(metrics: MetricsConfig, place: YamlNode) -> Iterator[InvalidArgument]:
    tls = metrics.tls
    if (tls.certificate is None) != (tls.key is None):
        missing = "key" if tls.key is None else "certificate"
        yield place.of(missing).error("certificate and key go together, and this one is missing")
    elif tls.client_ca is not None and tls.certificate is None:
        yield place.of("certificate").error("client_ca needs it: clients show certificates to a server that has one")


def _delegate(config: Config, place: YamlNode) -> Iterator[InvalidArgument]:
    if config.delegate.handlers and config.delegate.socket is None:
        yield place.of("socket").error("handlers need it: the socket of the other runtime")
    for handler in sorted({MACHINE_HANDLER, *config.handlers}.intersection(config.delegate.handlers)):
        yield place.of("handlers").error(f"pods of the handler {handler} are machines")

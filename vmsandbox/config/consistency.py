"""Rules that settings break together, each told at the line of the setting that is to be changed first."""

from collections.abc import Iterator

from vmsandbox.config import rules
from vmsandbox.config.settings import LEAST_MEMORY, MACHINE_HANDLER, MOST_MEMORY, Config
from vmsandbox.errors import InvalidArgument
from vmsandbox.typed_yaml import YamlNode

_LAST_USER = (1 << 31) - 1


def contradictions(config: Config, place: YamlNode) -> Iterator[InvalidArgument]:
    """All that is wrong with settings that are right each for itself; `place` is the document's."""
    yield from _handler_names(config, place.of("handlers"))
    for handler in config.machine_handlers:
        yield from _memory(config, handler, place)
    last = config.users.first + config.users.count - 1
    if last > _LAST_USER:
        yield place.of("users").error(f"the last user would be {last}, and the largest number is {_LAST_USER}")
    yield from _tls(config, place.of("streaming"))
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


def _tls(config: Config, place: YamlNode) -> Iterator[InvalidArgument]:
    certificate, key = config.streaming.tls_certificate, config.streaming.tls_key
    if (certificate is None) != (key is None):
        missing = "tls_key" if key is None else "tls_certificate"
        yield place.of(missing).error("tls_certificate and tls_key go together, and this one is missing")


def _delegate(config: Config, place: YamlNode) -> Iterator[InvalidArgument]:
    if config.delegate.handlers and config.delegate.socket is None:
        yield place.of("socket").error("handlers need it: the socket of the other runtime")
    for handler in sorted({MACHINE_HANDLER, *config.handlers}.intersection(config.delegate.handlers)):
        yield place.of("handlers").error(f"pods of the handler {handler} are machines")

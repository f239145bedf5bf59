"""Dialling a guest that boots, or that has hung up: the one thing that is retried."""

import asyncio
from collections.abc import Callable

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, wait_random_exponential

from vmsandbox.errors import DeadlineExceeded, Unavailable
from vmsandbox.fairness import TimeShare
from vmsandbox.guest.session.control import Control
from vmsandbox.guest.session.handshake import Greet
from vmsandbox.guest.transport import Transport, TransportBroken

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.5
"""Seconds: the bounds of the random pauses, which grow from one to the other."""


async def dial_within(deadline: float, transport: Transport, greet: Greet, share: TimeShare, name: str) -> Control:
    """Dial until the agent of the sandbox `name` answers, for at most `deadline` seconds.

    Raises:
        DeadlineExceeded: it did not; the message says what was seen last.
        TransportBroken: there is no way to the guest any more.
        FailedPrecondition: it does not speak our protocol, or does not know the machine's secret.
    """
    seen = ["the guest has not reported that it listens"]
    try:
        async with asyncio.timeout(deadline):
            await transport.ready()
            seen.append("nothing")
            return await dial_until_answered(transport, greet, share, lambda error: seen.append(str(error)))
    except TimeoutError:
        raise DeadlineExceeded(
            f"the agent of {name} did not answer within {deadline:g} s; last seen: {seen[-1]}",
            hint="the guest's console may say why; a slow or busy host needs a longer boot_deadline in config.yaml",
        ) from None


async def dial_until_answered(
    transport: Transport,
    greet: Greet,
    share: TimeShare,
    on_failure: Callable[[BaseException], None] | None = None,
) -> Control:
    """Dial until the agent answers, for ever; the caller cancels. Raises as `dial_within`.

    Args:
        transport: the way to the guest.
        greet: says hello in an attempt.
        share: the guest's; see `Control.open`.
        on_failure: told the error of every attempt that is going to be repeated.
    """

    def report(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        if on_failure is not None and error is not None:
            on_failure(error)

    async def attempt() -> Control:
        return await Control.open(transport, greet, share)

    retrying = AsyncRetrying(
        retry=retry_if_exception(_may_pass),
        wait=wait_random_exponential(_FIRST_PAUSE, max=_LONGEST_PAUSE),
        before_sleep=report,
        reraise=True,
    )
    return await retrying(attempt)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, Unavailable) and not isinstance(error, TransportBroken)

"""How long to wait before the same work is tried again, and what its failure is counted as: pure, chance is an argument.

Full jitter (Brooker, "Exponential Backoff and Jitter", 2015): between nothing and
a ceiling that doubles from half a second to a minute, so that a thousand agents
do not come back in step. What a person has to mend is tried slowly: never at once.
"""

from __future__ import annotations

from fuagent.contract.outcome import CASES
from fuagent.errors import TryAgainError, UnauthorisedError, WrongAnswerError
from fuagent.model import Outcome, Verdict

SESSION = "session"
MISSING = "checkpoint missing"
REASONS: dict[str, str] = {
    Verdict.RETRY.value: "an attempt failed, and the driver names no case of the table of outcomes",
    Verdict.WRONG_ANSWER.value: "something answered that is not the service, in the place of document or checkpoint",
    Verdict.UNAUTHORISED.value: "the credential was refused, for a token, the document or the checkpoint",
    SESSION: "the source or the service could not be opened, or reading broke off",
    MISSING: "the service has no checkpoint although it took rows before",
}
"""What failures are counted as beside the cases of the table of outcomes, and what each means."""

FIRST = 0.5
"""Ceiling of the first wait, seconds."""
SLOW_FIRST = 5.0
CEILING = 60.0
RETRY_AFTER_CAP = 15 * 60.0
"""Longest wait a service's Retry-After is obeyed for, seconds."""


def delay(attempt: int, chance: float, *, slow: bool = False, floor: float | None = None) -> float:
    """Seconds to wait after failed attempt number ``attempt`` (from 1).

    Args:
        attempt: How many attempts in a row have failed.
        chance: A random number, 0 <= chance < 1.
        slow: Whether waiting alone will hardly help (credentials, wrong answers).
        floor: What the other side asked for, in seconds.
    """
    first = SLOW_FIRST if slow else FIRST
    # The exponent is bounded because attempts are not: an outage may last for weeks.
    ceiling = min(CEILING, first * float(2 ** min(attempt - 1, 10)))
    wait = ceiling / 2 * (1 + chance) if slow else ceiling * chance
    return max(wait, min(floor or 0.0, RETRY_AFTER_CAP))


def reason(failure: Outcome | TryAgainError) -> str:
    """The word a failure is counted as, one of a fixed set: whatever a driver says, the words do not grow in number."""
    if isinstance(failure, Outcome):
        return failure.case if failure.case in CASES else failure.verdict.value
    if isinstance(failure, UnauthorisedError):
        return Verdict.UNAUTHORISED.value
    return Verdict.WRONG_ANSWER.value if isinstance(failure, WrongAnswerError) else SESSION

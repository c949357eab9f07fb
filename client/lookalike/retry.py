"""Which errors are worth another attempt, and how long to wait before it."""

from __future__ import annotations

import random
from dataclasses import dataclass

from lookalike.errors import LookalikeError, Overloaded, Unavailable

__all__ = ["RetryPolicy"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential backoff with jitter; times in seconds.

    UNAVAILABLE is tried again, a call that a server refused as it shut down, and RESOURCE_EXHAUSTED only when the
    server says after how long (RetryInfo). The call's timeout bounds all attempts together: a wait that does not fit
    into what is left of it is not begun, and the error is raised at once. `max_attempts` bounds them further; 1 means
    no retries at all.
    """

    initial: float = 0.1
    multiplier: float = 2.0
    maximum: float = 2.0
    max_attempts: int | None = None

    def delay(self, error: LookalikeError, *, attempts: int) -> float | None:
        """Seconds to wait after so many failed attempts (1 after the first); None when trying again is no use."""
        if self.max_attempts is not None and attempts >= self.max_attempts:
            return None
        if not (isinstance(error, Unavailable) or (isinstance(error, Overloaded) and error.retry_after is not None)):
            return None
        backoff = min(self.initial * self.multiplier ** min(attempts - 1, 64), self.maximum)
        # Never earlier than the server asks for, and never all callers at the same moment.
        return (error.retry_after or 0.0) + backoff * random.uniform(0.5, 1.0)

"""Errors of retry and circuit breakers."""

from __future__ import annotations

from holdfast.errors.core import Retry, StoreUnreachableError

__all__ = ["BreakerOpenError"]


class BreakerOpenError(StoreUnreachableError):
    """A store failed so often that it is left alone for a while."""

    code = "breaker-open"
    retry = Retry.LATER
    meaning = "A store failed so often in a row that it is left alone for a while; nothing was sent to it this time."
    safe = "every snapshot acknowledged before is as it was; what was uploaded is kept and used again."
    next = "see to the store; calls are let through again by themselves after a pause."

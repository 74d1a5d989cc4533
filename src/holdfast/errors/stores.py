"""Errors of stores beyond the trunk's: what a store cannot do, who it does not let in, what it must keep."""

from __future__ import annotations

from holdfast.errors.core import Retry, Safety, StoreError

__all__ = ["CapabilityError", "StoreAccessError", "StoreClockError", "StoreRetainedError"]


class CapabilityError(StoreError):
    """A store was asked for what it cannot do."""

    code = "store-capability"
    safety = Safety.UNTOUCHED
    retry = Retry.NEVER
    meaning = "A store was asked for something that its service, or its settings, do not offer."
    safe = "nothing was changed."
    next = "use a store that offers it; docs/stores.md lists what each kind can do."


class StoreAccessError(StoreError):
    """A store does not know the credential, or knows it no more."""

    code = "store-access"
    retry = Retry.NEVER
    meaning = "A store does not accept the credential: wrong, revoked, or expired."
    next = "renew the credential that the store's settings refer to, then run the same command again."


class StoreClockError(StoreError):
    """A store refuses because this machine's clock and its own differ."""

    code = "store-clock"
    retry = Retry.LATER
    meaning = "A store refuses signed requests because this machine's clock is wrong."
    next = "set the clock (`timedatectl`, or the NTP service), then run the same command again."


class StoreRetainedError(StoreError):
    """A store refuses to delete what must be retained."""

    code = "store-retained"
    retry = Retry.LATER
    meaning = "An object may not be deleted yet: the store retains it until a time set earlier."
    safe = "the object is kept as it is."
    next = "run the same command again after that time; nothing shortens it, on purpose."

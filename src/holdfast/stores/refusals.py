"""What an HTTP service means by a status and a code of its own: one table for all services.

The codes are those of Amazon S3, Azure Blob Storage and Google Cloud Storage, as their error references list them. No text
of a service is passed on: it may repeat an object's name or a credential.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from holdfast.errors import (
    HoldfastError,
    StoreAccessError,
    StoreClockError,
    StoreFullError,
    StoreRefusedError,
    StoreRetainedError,
    StoreUnreachableError,
)

__all__ = ["NO_PLACE", "error_code", "no_place", "refusal"]

SAFE = "every object stored before is whole: an unfinished one never gets a name"
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestNotReadyYet"})
_EXPIRED = frozenset({"ExpiredToken", "TokenRefreshRequired", "ExpiredAuthenticationToken"})
_ACCESS = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "InvalidClientTokenId",
        "AuthenticationFailed",
        "InvalidAuthenticationInfo",
        "NoAuthenticationInformation",
        "authError",
        "invalid_grant",
    }
)
_REGION = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "IncorrectEndpoint"})
_FULL = frozenset(
    {"QuotaExceeded", "QuotaExceededForBucket", "XMinioStorageFull", "InsufficientStorage", "StorageFull"}
)
NO_PLACE = frozenset({"NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "AccountNotFound"})
_RETAINED = frozenset(
    {"BlobImmutableDueToPolicy", "ObjectLocked", "retentionPolicyNotMet", "BlobImmutableDueToLegalHold"}
)
_COLD = frozenset({"InvalidObjectState", "BlobArchived", "BlobBeingRehydrated"})
_CLASS = frozenset({"InvalidStorageClass", "InvalidBlobTier"})
_CODE = re.compile(r"<Code>([A-Za-z0-9_.]{1,64})</Code>|\"reason\"\s*:\s*\"([A-Za-z0-9_.]{1,64})\"")
_TOO_OLD = re.compile(r"date header too old|not within the valid time|Signature not valid in the specified time")
_FIRST_SERVER_ERROR = 500
_TEMPORARY = frozenset({408, 425, 429})
_UNAUTHENTICATED, _FORBIDDEN, _FULL_STATUS = 401, 403, 507


def error_code(body: bytes, header: str = "") -> str:
    """Return the service's own code of an error: from a header where it has one, else from its XML or JSON; or nothing."""
    if header:
        return header if re.fullmatch(r"[A-Za-z0-9_.]{1,64}", header) else ""
    text = body[:65536].decode("utf-8", "replace")
    found = _CODE.search(text)
    if found is None:
        return ""
    code = found[1] or found[2]
    return "RequestTimeTooSkewed" if code == "AuthenticationFailed" and _TOO_OLD.search(text) else code


def refusal(status: int, code: str, verb: str) -> HoldfastError:
    """Return the error that a status and a code mean for what was tried (`read`, `write`, `list`, `delete`, …)."""
    said = f"{status} {code}".strip()
    for codes, error in _BY_CODE:
        if code in codes:
            return error(said, verb)
    if status == _FULL_STATUS:
        return _full(said, verb)
    if status >= _FIRST_SERVER_ERROR or status in _TEMPORARY:
        return StoreUnreachableError(f"the store failed to {verb} ({said})", safe=SAFE, status=status)
    if status == _UNAUTHENTICATED:
        return StoreAccessError(f"the store does not accept the credential ({said})", safe=SAFE, status=status)
    if status == _FORBIDDEN:
        return _denied(said, verb)
    return StoreRefusedError(
        f"the store refused to {verb} ({said})",
        safe=SAFE,
        next="compare the store's settings with what the service asks for: URL, endpoint, region, path_style",
        status=status,
    )


def _denied(said: str, verb: str) -> StoreRefusedError:
    return StoreRefusedError(
        f"the store does not permit to {verb} ({said})",
        safe=SAFE,
        next="give the credential the rights that docs/stores.md lists, then run the same command again",
    )


def _full(said: str, _verb: str) -> StoreFullError:
    return StoreFullError(
        f"the store is full ({said})",
        safe=SAFE,
        next="free or add space, or raise the quota, and run again: nothing is uploaded twice",
    )


def _expired(said: str, _verb: str) -> StoreAccessError:
    return StoreAccessError(f"the store's credential has expired ({said})", safe=SAFE)


def _clock(said: str, _verb: str) -> StoreClockError:
    return StoreClockError(f"the store refuses: its clock and this machine's differ ({said})", safe=SAFE)


def _access(said: str, _verb: str) -> StoreAccessError:
    return StoreAccessError(f"the store does not accept the credential ({said})", safe=SAFE)


def _region(said: str, _verb: str) -> StoreRefusedError:
    return StoreRefusedError(
        f"the store's region or endpoint is another ({said})",
        safe=SAFE,
        next="set `region` and `endpoint` of the store to those of the bucket",
    )


def no_place(said: str = "", _verb: str = "") -> StoreRefusedError:
    """Return the error of a bucket or container that is not there."""
    return StoreRefusedError(
        f"the store has no such bucket or container {f'({said})' if said else ''}".rstrip(),
        safe=SAFE,
        next="correct the store's URL, or make the bucket first: docs/stores.md shows how",
    )


def _retained(_said: str, _verb: str) -> StoreRetainedError:
    return StoreRetainedError("the store retains an object that was to be deleted")


def _cold(said: str, _verb: str) -> StoreRefusedError:
    return StoreRefusedError(
        f"an object is kept cold and cannot be read now ({said})", next="thaw it first, and wait until it is ready"
    )


def _class(said: str, _verb: str) -> StoreRefusedError:
    return StoreRefusedError(
        f"the store does not know the storage class ({said})", safe=SAFE, next="correct the store's `storage_class`"
    )


_BY_CODE: tuple[tuple[frozenset[str], Callable[[str, str], HoldfastError]], ...] = (
    (_CLOCK, _clock),
    (_EXPIRED, _expired),
    (_ACCESS, _access),
    (_REGION, _region),
    (NO_PLACE, no_place),
    (_FULL, _full),
    (_RETAINED, _retained),
    (_COLD, _cold),
    (_CLASS, _class),
    (frozenset({"AccessDenied"}), _denied),
)

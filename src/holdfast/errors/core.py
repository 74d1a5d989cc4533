"""The trunk of the exception tree: the base class, and the errors of vaults, stores, sources and targets."""

from __future__ import annotations

import signal
from enum import Enum
from typing import ClassVar

__all__ = [
    "AccessError",
    "AmbiguousSnapshotError",
    "ConfigError",
    "DamageError",
    "HeldError",
    "HoldfastError",
    "InternalError",
    "Interrupted",
    "LimitError",
    "LocalStateError",
    "MissingError",
    "NotPermittedError",
    "ObjectMissingError",
    "PathMissingError",
    "RetentionError",
    "Retry",
    "RevokedError",
    "Safety",
    "SnapshotMissingError",
    "SourceMissingError",
    "StoreError",
    "StoreFullError",
    "StoreRefusedError",
    "StoreUnreachableError",
    "TargetError",
    "TargetInsideVaultError",
    "TargetNotEmptyError",
    "UsageError",
    "VaultExistsError",
    "VaultMissingError",
    "VersionError",
    "WrongKeyError",
]


class Safety(Enum):
    """What an error means for the backups that exist."""

    UNTOUCHED = "untouched"
    """Nothing was written or deleted."""
    INTACT = "intact"
    """Something was written; every snapshot acknowledged before is as good as it was."""
    DEGRADED = "degraded"
    """Something acknowledged is damaged, and another copy or the source can heal it."""
    AT_RISK = "at risk"
    """Something acknowledged may be lost."""


class Retry(Enum):
    """Whether the same call may succeed another time."""

    NEVER = "never"
    """Not before somebody changed something."""
    LATER = "later"
    """By itself, after a while."""
    EXHAUSTED = "exhausted"
    """It was tried as often as the policy allows."""


class HoldfastError(Exception):
    """An operation stopped. Every error of the library is one.

    `str(error)` is three lines: what happened, ``SAFE:`` what is safe, ``NEXT:`` what to do. `facts` are values for
    programs (counts, digests, limits); they never hold a path of the backed-up data.
    """

    code: ClassVar[str] = "error"
    exit_code: int = 1
    safety: ClassVar[Safety] = Safety.INTACT
    retry: ClassVar[Retry] = Retry.NEVER
    meaning: ClassVar[str] = "An operation stopped."
    safe: str = "every snapshot acknowledged before is as it was."
    next: str = "read the first line; `holdfast check` shows the state of the vault."

    def __init__(self, what: str, *, safe: str | None = None, next: str | None = None, **facts: object) -> None:
        """State what happened; `safe` and `next` replace the class's own sentences where more is known."""
        super().__init__(what)
        self.what = what
        self.facts = facts
        if safe is not None:
            self.safe = safe
        if next is not None:
            self.next = next

    def __str__(self) -> str:
        return f"{self.what}\nSAFE: {self.safe}\nNEXT: {self.next}"

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.__dict__.copy()))


def _rebuild(cls: type[HoldfastError], what: str, state: dict[str, object]) -> HoldfastError:
    error = cls.__new__(cls, what)
    Exception.__init__(error, what)
    error.__dict__.update(state)
    return error


class UsageError(HoldfastError):
    """The call makes no sense as given."""

    code = "usage"
    exit_code = 2
    safety = Safety.UNTOUCHED
    meaning = "An argument or a combination of arguments makes no sense."
    safe = "nothing was read or written."
    next = "see `holdfast COMMAND --help`."


class ConfigError(UsageError):
    """A configuration has faults; `problems` lists every one of them."""

    code = "config-invalid"
    meaning = "The configuration has faults; all of them are listed at once."
    safe = "nothing was read or written."
    next = "correct the lines named above; `holdfast config explain KEY` says what a key takes."

    def __init__(
        self, what: str, *, problems: tuple[str, ...] = (), safe: str | None = None, next: str | None = None
    ) -> None:
        """State what is wrong, with one line per problem."""
        super().__init__(
            "\n".join((what, *(f"  {line}" for line in problems))), safe=safe, next=next, problems=problems
        )
        self.problems = problems


class AmbiguousSnapshotError(UsageError):
    """A prefix or a selector fits several snapshots."""

    code = "snapshot-ambiguous"
    meaning = "The beginning of an id fits several snapshots."
    next = "give more digits of the id; `holdfast snapshots` lists them."


class SourceMissingError(UsageError):
    """A path to back up does not exist or cannot be opened at all."""

    code = "source-missing"
    meaning = "A path that was to be backed up does not exist."
    next = "correct the path, or mount what should be there; an empty mount point is not backed up in silence."


class TargetNotEmptyError(UsageError):
    """A restore target holds something already."""

    code = "target-not-empty"
    meaning = "The folder to restore into is not empty."
    safe = "nothing was written; what is in the folder is untouched."
    next = "choose an empty folder, or say what to do with files that exist: `--overwrite never|older|always`."


class TargetInsideVaultError(UsageError):
    """A restore target lies in the vault or in Holdfast's own state."""

    code = "target-inside-vault"
    meaning = "The folder to restore into, or to back up, belongs to the vault itself."
    next = "choose a folder outside of the vault and of Holdfast's state directory."


class MissingError(HoldfastError):
    """What was asked for is not there."""

    code = "missing"
    exit_code = 5
    safety = Safety.UNTOUCHED
    meaning = "What was asked for is not there."
    safe = "nothing was read or written."
    next = "check the name."


class VaultMissingError(MissingError):
    """There is no vault at this place."""

    code = "vault-missing"
    meaning = "There is no vault at this place."
    next = "check the place (is it mounted?); `holdfast init` makes a new vault."


class SnapshotMissingError(MissingError):
    """No snapshot fits."""

    code = "snapshot-missing"
    meaning = "No snapshot fits the id or selector."
    next = "`holdfast snapshots` lists what there is."


class PathMissingError(MissingError):
    """The snapshot has no such path."""

    code = "path-missing"
    meaning = "The snapshot holds nothing under the path that was asked for."
    next = "`holdfast ls SNAPSHOT` and `holdfast find PATTERN` show what there is."


class AccessError(HoldfastError):
    """The key or role at hand does not open this."""

    code = "access"
    exit_code = 6
    safety = Safety.UNTOUCHED
    meaning = "The key or the role at hand does not allow this."
    safe = "nothing was read or written."
    next = "use a key with the rights that this needs."


class WrongKeyError(AccessError):
    """A key does not open the vault."""

    code = "key-wrong"
    meaning = "The key file, passphrase or credential does not open this vault."
    next = "check that key and vault belong together; a recovery kit names the vault it opens."


class NotPermittedError(AccessError):
    """The role at hand may not do this."""

    code = "not-permitted"
    meaning = "The role at hand may not do this: a writer's credential cannot read, for instance."
    next = "use the key file, the passphrase or the recovery kit."


class HeldError(AccessError):
    """A legal hold forbids it."""

    code = "held"
    meaning = "A legal hold is set on the snapshot."
    safe = "the snapshot is kept as it is."
    next = "whoever ordered the hold releases it: `holdfast hold release SNAPSHOT`."


class RetentionError(AccessError):
    """The minimum retention forbids it."""

    code = "retention"
    meaning = "The snapshot must be retained longer than today."
    safe = "the snapshot is kept as it is."
    next = "wait for the date named above; retention is shortened by nobody, on purpose."


class StoreError(HoldfastError):
    """A store did not do what was asked."""

    code = "store"
    exit_code = 7
    retry = Retry.LATER
    meaning = "A store did not do what was asked."
    safe = "every snapshot acknowledged before is as it was; what was uploaded is kept and used again."
    next = "run the same command again."


class StoreUnreachableError(StoreError):
    """A store does not answer."""

    code = "store-unreachable"
    meaning = "A store does not answer."
    next = "check network, mount and power of the store, then run the same command again."


class StoreFullError(StoreError):
    """A store has no room left."""

    code = "store-full"
    retry = Retry.NEVER
    meaning = "A store has no room left."
    next = "make room (`holdfast forget`, then `holdfast prune`) or enlarge the store, then run the same command again."


class StoreRefusedError(StoreError):
    """A store refuses: permission, read-only, or a promise it does not keep."""

    code = "store-refused"
    retry = Retry.NEVER
    meaning = "A store refuses: no permission, read-only, or it lacks what a vault's home must be able to do."
    next = "check owner and permissions of the store's folder."


class DamageError(HoldfastError):
    """Bytes are not what was written."""

    code = "damage"
    exit_code = 4
    safety = Safety.DEGRADED
    meaning = "Bytes in the vault are not what was written. They were not used."
    safe = "no damaged byte was passed on; everything not named here is unaffected."
    next = "`holdfast verify` names every snapshot that is touched; the next backup stores again what the source has."


class ObjectMissingError(DamageError):
    """An object that must exist does not."""

    code = "object-missing"
    meaning = "An object that must exist is not in the store."
    next = "put it back from a copy of the store if there is one; `holdfast check` lists all that is missing."


class VaultExistsError(HoldfastError):
    """There is a vault already."""

    code = "vault-exists"
    exit_code = 2
    safety = Safety.UNTOUCHED
    meaning = "There is a vault, or a key file, already."
    safe = "the vault that exists is as it was."
    next = "choose another place, or use the vault that is there."


class VersionError(HoldfastError):
    """Written by a newer Holdfast."""

    code = "version"
    safety = Safety.UNTOUCHED
    meaning = "The vault, or an object in it, was written by a newer Holdfast."
    safe = "nothing was written; the vault is as it was."
    next = "use the release that wrote it, or a newer one."


class LimitError(HoldfastError):
    """A limit was reached."""

    code = "limit"
    meaning = "A limit of the format or of the configuration was reached."
    next = "the first line names the limit; those of the configuration can be raised."


class RevokedError(HoldfastError):
    """A session was revoked before it committed."""

    code = "session-revoked"
    retry = Retry.LATER
    meaning = "A prune revoked this run's session while it was silent; it has no snapshot."
    safe = "every snapshot acknowledged before is as it was; packs uploaded meanwhile are used again."
    next = "run the same command again."


class LocalStateError(HoldfastError):
    """The local state directory cannot be used."""

    code = "local-state"
    meaning = "Holdfast's local state (index copies, caches, catalog) cannot be read or written."
    safe = "the vault is as it was; local state is derived from it and only costs time."
    next = "check owner and room of the state directory; it may be removed as a whole, the next run fetches it again."


class TargetError(HoldfastError):
    """What is restored cannot be written: the target is full, read-only, or nobody reads the output any more."""

    code = "target"
    safety = Safety.UNTOUCHED
    meaning = "The folder, disk or output to restore into takes no more: full, read-only, no permission, closed."
    safe = "the vault was only read; files that have their names are whole and verified."
    next = "make room and run the same command again, which goes on where it stopped; or choose another target."


class Interrupted(HoldfastError):  # noqa: N818 - the run was asked to stop; that is no fault
    """The run was asked to stop: SIGINT or SIGTERM. `signal_number` tells which."""

    code = "interrupted"
    exit_code = 130
    retry = Retry.LATER
    meaning = "The run was asked to stop by SIGINT (exit code 130) or SIGTERM (143)."
    safe = "every snapshot acknowledged before is as it was; the checkpoint is kept."
    next = "run the same command again; what is stored is not stored twice."

    def __init__(
        self,
        what: str = "interrupted",
        *,
        signal_number: int = signal.SIGINT,
        safe: str | None = None,
        next: str | None = None,
    ) -> None:
        """Name the signal, which decides the exit code."""
        super().__init__(what, safe=safe, next=next, signal_number=int(signal_number))
        self.signal_number = int(signal_number)
        self.exit_code = 128 + int(signal_number)


class InternalError(HoldfastError):
    """A fault of Holdfast itself."""

    code = "internal"
    meaning = "A fault of Holdfast itself."
    next = "report it with the traceback, which `HOLDFAST_TRACEBACK=1` prints."

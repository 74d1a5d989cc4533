"""The exception tree: what stopped, what is safe, what to do.

::

    HoldfastError
    ├─ UsageError                  the call makes no sense as given
    │  ├─ ConfigError              a configuration file has faults (all of them are listed)
    │  ├─ AmbiguousSnapshotError   a prefix or a selector fits several snapshots
    │  ├─ SourceMissingError       a path to back up does not exist
    │  ├─ TargetNotEmptyError      a restore target holds something already
    │  ├─ KitNotRehearsedError     no recovery kit ever opened the vault
    │  ├─ ProbeUnusableError       a probe of the application cannot be used as configured
    │  └─ TargetInsideVaultError   a restore target or a source lies in the vault
    ├─ MissingError                what was asked for is not there
    │  ├─ VaultMissingError
    │  ├─ SnapshotMissingError
    │  ├─ PathMissingError
    │  ├─ DrillMissingError     no drill has this id
    │  ├─ HostInventoryError       the snapshot does not say what its host is made of
    │  ├─ MountMissingError        no writable mount was made there
    │  └─ AlertMissingError     no alert has this number
    │  └─ RunMissingError          no run of that id on this machine
    ├─ AccessError                 the key does not open this
    │  ├─ WrongKeyError
    │  │  └─ ShareError            shares that do not make a key
    │  ├─ KeyRotationError         a rotation of the root key is not finished
    │  ├─ KeyReplacedError         the credential's keys were replaced
    │  ├─ ErasedError              the keys of this content were destroyed
    │  ├─ ShredRefusedError        something that must be kept rests on the keys
    │  ├─ EnrolmentError           an enrolment file serves no more
    │  ├─ NotPermittedError
    │  │  └─ KeyringLostError      the newest keys are lost: damage, and no wrong key
    │  ├─ HeldError                a legal hold forbids it
    │  ├─ RetentionError           the minimum retention forbids it
    │  ├─ PinnedError              a suspicious snapshot pins the last good one
    │  ├─ ReplyRefusedError        a signed reply to an alert is not accepted
    │  └─ ApprovalMissingError     the vault's access rules demand that others approve
    ├─ ClassForgottenError         that data class of the snapshot has been forgotten
    ├─ NotComparedError            reference sets that nobody has compared with their trees
    ├─ StoreError                  a store did not do what was asked
    │  ├─ HomeReplacedError        its copy was promoted: the vault's home is elsewhere
    │  ├─ StoreUnreachableError
    │  │  └─ BreakerOpenError      it failed so often that it is left alone for a while
    │  ├─ StoreFullError
    │  │  └─ SpoolFullError        nor has the spool any room
    │  ├─ StoreRefusedError
    │  ├─ CapabilityError          it cannot do what was asked
    │  ├─ StoreAccessError         it does not accept the credential
    │  ├─ StoreClockError          its clock and ours differ
    │  └─ StoreRetainedError       the object may not be deleted yet
    ├─ DamageError                 bytes are not what was written
    │  ├─ ObjectMissingError       an object that must exist does not
    │  ├─ RolledBackError          the store shows an older state than was seen
    │  ├─ KeySlotsDamagedError     what a secret would open is damaged: it may be the right one
    │  ├─ PartlyLostError          all that could be read was shown, and it is not all
    │  ├─ ReferencesMismatchError  a reference set lacks what its tree needs: pruning stops
    │  └─ AuditDamagedError        the audit log was changed
    ├─ AuditUnavailableError       the audit log cannot be written
    ├─ KeyServiceError             a token or transit engine does not answer
    │  └─ MediumDamageError        a medium holds other bytes than its list says
    ├─ MediumError                 a courier's medium is full, swapped, or not ours
    │  └─ MediumGapError           one before it is missing
    ├─ ReceiptError                a receipt that confirms nothing exported here
    ├─ VaultExistsError            there is a vault already
    ├─ VersionError                written by a newer Holdfast
    ├─ LimitError                  a limit of the format or of the configuration was reached
    ├─ RevokedError                a session was revoked before it committed
    ├─ LocalStateError             the local state directory cannot be used
    ├─ TargetError                 the folder or the output to restore into takes no more
    ├─ VolumeSnapshotError         a volume snapshot could not be made, read or removed
    │  ├─ VolumeUnsuitableError    a path lies on nothing that this provider can snapshot
    │  ├─ VolumeBusyError          no room for one more, or still in use
    │  └─ FrozenElsewhereError     frozen or thawed by somebody else
    ├─ ChannelError                a channel did not take a message
    │  ├─ ChannelDriverMissingError
    │  └─ RecipientMissingError    the message has nobody to go to by it
    ├─ ScheduleBusyError           another schedule, or a run of the same job, is under way
    ├─ RunLostError                a scheduled run ended without a result
    ├─ RunOverdueError             a scheduled run took longer than it may
    ├─ DrillError                  a drill could not be held
    │  ├─ DrillRefusedError        its place could touch production
    │  ├─ DrillSpaceError          its place has no room
    │  ├─ IsolationError           the system gives it no namespaces
    │  └─ DrillProgramError        a program of the application is missing
    ├─ HostError                   a step of a restore to whole disks failed
    │  ├─ HostProgramError         a program is missing that the restore needs
    │  └─ HostRefusedError         a disk is too small, in use, not empty, or not named
    ├─ MountError                  a snapshot could not be mounted
    │  ├─ FuseMissingError         the machine has no FUSE
    │  ├─ MountBusyError           the place is in use
    │  └─ MountNotWholeError       not everything is here yet
    ├─ EvidenceError               a record or a report is not what was signed
    ├─ ReportToolMissingError      a PDF was asked for and its maker is not installed
    ├─ PausedError                 the window closed or an operator paused it: checkpoint kept
    ├─ SteeringError               a run does not answer on its control socket
    ├─ Interrupted                 SIGINT or SIGTERM: checkpoint kept
    ├─ InternalError               a fault of Holdfast itself
    └─ ApplicationError            an application could not be backed up as configured
       ├─ ApplicationUnreachableError
       │  └─ ApplicationLeftAloneError   so often that it is not asked for a while
       ├─ ApplicationAccessError     wrong password, missing right
       ├─ ApplicationUnsuitableError wrong version, role or setting
       ├─ ApplicationBusyError       another backup of it is under way
       ├─ ApplicationChangedError    it restarted or failed over meanwhile
       ├─ CaptureError               what was captured did not pass its checks
       ├─ FreezeOverrunError         a budget was exceeded; thawed first
       ├─ StillFrozenError           it did not come back: act now
       ├─ WatchdogError              nothing is frozen without one
       ├─ DriverMissingError         a driver or program is not installed
       ├─ WalConflictError           one name, two contents
       ├─ WalMissingError            in none of the places
       └─ RecoveryError              a restored application does not come up

A low layer raises the precise class; an upper layer adds facts and notes and never wraps it again. A problem with one
file of many is a `Finding` in the result, not an exception: an exception means "I stopped".

Codes and exit codes are never reused for anything else. No text of an error names a path of the backed-up data, unless
the operator asked for paths.

One module per area of the tree; this package is the door to all of them.
"""

from __future__ import annotations

from holdfast.errors.alerts import (
    AlertMissingError,
    ChannelDriverMissingError,
    ChannelError,
    RecipientMissingError,
    ReplyRefusedError,
)
from holdfast.errors.anomaly import PinnedError, RolledBackError
from holdfast.errors.applications import (
    ApplicationAccessError,
    ApplicationBusyError,
    ApplicationChangedError,
    ApplicationError,
    ApplicationLeftAloneError,
    ApplicationUnreachableError,
    ApplicationUnsuitableError,
    CaptureError,
    DriverMissingError,
    FreezeOverrunError,
    RecoveryError,
    StillFrozenError,
    WalConflictError,
    WalMissingError,
    WatchdogError,
)
from holdfast.errors.audit import ApprovalMissingError, AuditDamagedError, AuditUnavailableError
from holdfast.errors.core import (
    AccessError,
    AmbiguousSnapshotError,
    ConfigError,
    DamageError,
    HeldError,
    HoldfastError,
    InternalError,
    Interrupted,
    LimitError,
    LocalStateError,
    MissingError,
    NotPermittedError,
    ObjectMissingError,
    PathMissingError,
    RetentionError,
    Retry,
    RevokedError,
    Safety,
    SnapshotMissingError,
    SourceMissingError,
    StoreError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
    TargetError,
    TargetInsideVaultError,
    TargetNotEmptyError,
    UsageError,
    VaultExistsError,
    VaultMissingError,
    VersionError,
    WrongKeyError,
)
from holdfast.errors.damage import PartlyLostError
from holdfast.errors.drills import (
    DrillError,
    DrillMissingError,
    DrillProgramError,
    DrillRefusedError,
    DrillSpaceError,
    IsolationError,
)
from holdfast.errors.governor import PausedError, ProbeUnusableError, RunMissingError, SteeringError
from holdfast.errors.hosts import HostError, HostInventoryError, HostProgramError, HostRefusedError
from holdfast.errors.keys import (
    EnrolmentError,
    ErasedError,
    KeyReplacedError,
    KeyringLostError,
    KeyRotationError,
    KeyServiceError,
    KeySlotsDamagedError,
    KitNotRehearsedError,
    ShareError,
    ShredRefusedError,
)
from holdfast.errors.mounts import (
    FuseMissingError,
    MountBusyError,
    MountError,
    MountMissingError,
    MountNotWholeError,
)
from holdfast.errors.protocol import (
    ClassForgottenError,
    HomeReplacedError,
    NotComparedError,
    ReferencesMismatchError,
)
from holdfast.errors.reliability import BreakerOpenError
from holdfast.errors.reports import EvidenceError, ReportToolMissingError
from holdfast.errors.schedule import RunLostError, RunOverdueError, ScheduleBusyError
from holdfast.errors.stores import CapabilityError, StoreAccessError, StoreClockError, StoreRetainedError
from holdfast.errors.tiers import (
    MediumDamageError,
    MediumError,
    MediumGapError,
    ReceiptError,
    SpoolFullError,
)
from holdfast.errors.volumes import (
    FrozenElsewhereError,
    VolumeBusyError,
    VolumeSnapshotError,
    VolumeUnsuitableError,
)

__all__ = [
    "AccessError",
    "AlertMissingError",
    "AmbiguousSnapshotError",
    "ApplicationAccessError",
    "ApplicationBusyError",
    "ApplicationChangedError",
    "ApplicationError",
    "ApplicationLeftAloneError",
    "ApplicationUnreachableError",
    "ApplicationUnsuitableError",
    "ApprovalMissingError",
    "AuditDamagedError",
    "AuditUnavailableError",
    "BreakerOpenError",
    "CapabilityError",
    "CaptureError",
    "ChannelDriverMissingError",
    "ChannelError",
    "ClassForgottenError",
    "ConfigError",
    "DamageError",
    "DrillError",
    "DrillMissingError",
    "DrillProgramError",
    "DrillRefusedError",
    "DrillSpaceError",
    "DriverMissingError",
    "EnrolmentError",
    "ErasedError",
    "EvidenceError",
    "FreezeOverrunError",
    "FrozenElsewhereError",
    "FuseMissingError",
    "HeldError",
    "HoldfastError",
    "HomeReplacedError",
    "HostError",
    "HostInventoryError",
    "HostProgramError",
    "HostRefusedError",
    "InternalError",
    "Interrupted",
    "IsolationError",
    "KeyReplacedError",
    "KeyRotationError",
    "KeyServiceError",
    "KeySlotsDamagedError",
    "KeyringLostError",
    "KitNotRehearsedError",
    "LimitError",
    "LocalStateError",
    "MediumDamageError",
    "MediumError",
    "MediumGapError",
    "MissingError",
    "MountBusyError",
    "MountError",
    "MountMissingError",
    "MountNotWholeError",
    "NotComparedError",
    "NotPermittedError",
    "ObjectMissingError",
    "PartlyLostError",
    "PathMissingError",
    "PausedError",
    "PinnedError",
    "ProbeUnusableError",
    "ReceiptError",
    "RecipientMissingError",
    "RecoveryError",
    "ReferencesMismatchError",
    "ReplyRefusedError",
    "ReportToolMissingError",
    "RetentionError",
    "Retry",
    "RevokedError",
    "RolledBackError",
    "RunLostError",
    "RunMissingError",
    "RunOverdueError",
    "Safety",
    "ScheduleBusyError",
    "ShareError",
    "ShredRefusedError",
    "SnapshotMissingError",
    "SourceMissingError",
    "SpoolFullError",
    "SteeringError",
    "StillFrozenError",
    "StoreAccessError",
    "StoreClockError",
    "StoreError",
    "StoreFullError",
    "StoreRefusedError",
    "StoreRetainedError",
    "StoreUnreachableError",
    "TargetError",
    "TargetInsideVaultError",
    "TargetNotEmptyError",
    "UsageError",
    "VaultExistsError",
    "VaultMissingError",
    "VersionError",
    "VolumeBusyError",
    "VolumeSnapshotError",
    "VolumeUnsuitableError",
    "WalConflictError",
    "WalMissingError",
    "WatchdogError",
    "WrongKeyError",
    "error_classes",
]


def error_classes() -> tuple[type[HoldfastError], ...]:
    """Every class of the tree, parents before children, in the order of the picture at the top of this package."""
    found: list[type[HoldfastError]] = []

    def collect(cls: type[HoldfastError]) -> None:
        if cls.__module__.startswith(f"{__name__}.") and cls not in found:
            found.append(cls)
            for child in cls.__subclasses__():
                collect(child)

    collect(HoldfastError)
    return tuple(found)

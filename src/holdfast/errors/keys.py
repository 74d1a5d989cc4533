"""Errors of keys: shares, key services, rotation, enrolment, erasure."""

from __future__ import annotations

from holdfast.errors.core import (
    AccessError,
    DamageError,
    HoldfastError,
    NotPermittedError,
    Retry,
    Safety,
    UsageError,
    WrongKeyError,
)

__all__ = [
    "EnrolmentError",
    "ErasedError",
    "KeyReplacedError",
    "KeyRotationError",
    "KeyServiceError",
    "KeySlotsDamagedError",
    "KeyringLostError",
    "KitNotRehearsedError",
    "ShareError",
    "ShredRefusedError",
]


class ShareError(WrongKeyError):
    """Shares of a key do not make the key: one is misread, given twice, of another key, or there are too few."""

    code = "key-share"
    meaning = "The sheets with shares of a key do not make the key; the first line says which sheet is wrong, and how."
    next = (
        "compare the words on the sheet named above with what was typed, and give as many different sheets as it says."
    )


class KeyServiceError(HoldfastError):
    """A key service (PKCS#11 token, transit engine) does not answer, or does not do what is needed."""

    code = "key-service"
    safety = Safety.UNTOUCHED
    retry = Retry.LATER
    meaning = "The key service that holds a wrapping key does not answer, or does not do what is asked of it."
    safe = "nothing was read or written."
    next = "check that the service runs, or open the vault with another of its keys: `holdfast key list` names them."


class KeySlotsDamagedError(DamageError):
    """The key slots that a secret could open are damaged: the secret is not known to be wrong."""

    code = "key-slots-damaged"
    meaning = "Key slots of the vault are damaged, with their twins, so that the secret given opens nothing. It may be the right one."
    safe = "every snapshot is as it was; what is damaged is only the way from this secret to the keys."
    next = (
        "put the objects under `key/` back from a copy of the home (`holdfast repair promote` makes it the home) or of the store,"
        " or use a recovery kit with them; then run `holdfast repair`."
    )


class KeyRotationError(AccessError):
    """The root key is being rotated, or a rotation was interrupted."""

    code = "key-rotation"
    retry = Retry.LATER
    meaning = (
        "The root key is being rotated, or its rotation was interrupted; until that is finished no key is changed."
    )
    safe = "every snapshot is as it was, and every key that opened the vault before still opens it."
    next = "run `holdfast key rotate root` again: it finishes what was begun."


class KeyringLostError(NotPermittedError):
    """The keyring that holds the newest keys is lost: no key is missing on the side of whoever asks."""

    code = "keyring-lost"
    exit_code = 4
    safety = Safety.INTACT
    meaning = (
        "The keyring with the newest keys of the vault is lost or damaged, and so is its twin. It is damage, and no wrong key: what"
        " is sealed under older keys restores, and no key is changed before it is back."
    )
    safe = "every snapshot acknowledged before is as it was."
    next = (
        "put the objects under `keyring/` back from a copy of the home (`holdfast repair home`) or of the store; only if there is"
        " none, `holdfast key rotate class CLASS --again` makes new keys, and what was sealed under the lost ones is given up."
    )


class KeyReplacedError(AccessError):
    """The keys of this credential were replaced by newer ones."""

    code = "key-replaced"
    meaning = "The vault has newer keys than this credential, and demands them for whatever is stored now."
    safe = "nothing was stored; snapshots made before are as they were."
    next = (
        "bring this host the credential that replaced its own; `holdfast key rotate writer NAME --out FILE` makes one."
    )


class ErasedError(AccessError):
    """The keys of this content were destroyed."""

    code = "key-erased"
    meaning = "The generation of keys that this content was sealed under was destroyed on purpose; nobody can read it."
    safe = "what is sealed under other generations is as it was."
    next = "`holdfast key certificate` shows when it was destroyed, and by whose word."


class ShredRefusedError(AccessError):
    """Something that must be kept rests on the keys that were to be destroyed."""

    code = "shred-refused"
    meaning = (
        "Snapshots that are held, must be retained, or are simply there rest on the keys that were to be destroyed."
    )
    safe = "no key was destroyed."
    next = (
        "release or forget what the first line counts; snapshots that only exist can be given up by `--with-snapshots`."
    )


class EnrolmentError(AccessError):
    """An enrolment file serves no more."""

    code = "enrolment"
    meaning = "The enrolment file was used already, has expired, or was withdrawn."
    next = (
        "make a new one: `holdfast enroll create HOST --out FILE`; if nobody you know used it, revoke its writer first."
    )


class KitNotRehearsedError(UsageError):
    """No recovery kit ever opened the vault."""

    code = "kit-not-rehearsed"
    meaning = "The schedule does not run unattended before a recovery kit has opened the vault once."
    safe = "nothing was started; backups by hand work."
    next = "write a kit (`holdfast key kit --out FILE`), print it, then try it: `holdfast key rehearse --kit FILE`."

"""Opening a vault: from a secret to its root key, from there to the keyring; and what root left for the holder of a credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import (
    AccessError,
    DamageError,
    EnrolmentError,
    KeyReplacedError,
    KeyRotationError,
    VersionError,
    WrongKeyError,
)
from holdfast.repository import names, slots
from holdfast.repository.bodies import Slot, WriterCertificate
from holdfast.repository.home import ROOT
from holdfast.repository.keyring import ClassGeneration, Keyring, public_of
from holdfast.repository.objects import parse_canonical, unseal
from holdfast.repository.wraps import readable_wraps

if TYPE_CHECKING:
    from holdfast.repository.credentials import Secret
    from holdfast.repository.home import Home
    from holdfast.repository.slots import OpenedSlot


def open_root(home: Home, secret: Secret) -> tuple[OpenedSlot, Keyring]:
    """Try every slot of the secret's method; return what opens, with the newest keyring that any of it opens.

    `WrongKeyError`, `ShareError`, `KeyServiceError`, or `DamageError` if no slot or no keyring could be read.
    """
    broken: DamageError | None = None
    readable = 0
    best: tuple[OpenedSlot, Keyring] | None = None
    for name in home.listed("key"):
        try:
            _, slot = home.read(name, Slot)
            opened = slots.unwrap(slot, secret, home.vault_id)
            if opened is None:
                readable += slot.method == slots.method_of(secret)
                continue
            keyring = read_keyring(home, opened.root_key)
        except DamageError as error:
            broken = error
            continue
        if best is None or keyring.number > best[1].number:
            best = opened, keyring
        if keyring.number == max(home.numbers("keyring")):
            break
    if best is not None:
        return best
    if broken is not None and not readable:
        raise broken
    raise slots.refusal(secret)


def read_keyring(home: Home, root_key: bytes) -> Keyring:
    """Return the highest keyring that opens. `DamageError` if none does, `VersionError` if the only ones are newer."""
    failure: Exception = DamageError("the vault has no keyring")
    for number in reversed(home.numbers("keyring")):
        name = names.numbered("keyring", number)
        try:
            keyring = open_keyring(home, name, root_key)
        except (DamageError, VersionError) as error:
            failure = error
            continue
        if keyring.number == number:
            return keyring
    raise failure


def open_keyring(home: Home, name: str, root_key: bytes) -> Keyring:
    """Open one keyring object."""
    sealed = home.read_sealed(name)
    return Keyring.decode(parse_canonical(unseal(sealed, root_key, name), "the keyring"))


def require_newest(home: Home, keyring: Keyring, root_key: bytes) -> None:
    """Refuse to change keys while another root key is on its way in. `KeyRotationError`."""
    for number in reversed(home.numbers("keyring")):
        try:
            open_keyring(home, names.numbered("keyring", number), root_key)
        except DamageError:
            if any(wrap.body.epoch > keyring.epoch for wrap in readable_wraps(home)[0]):
                raise KeyRotationError(
                    "the root key was replaced, and the key at hand opens the old one",
                    next="open the vault with a key that was sealed anew, and run `holdfast key rotate root` to finish.",
                ) from None
            raise KeyRotationError("a newer keyring is sealed under another root key: a rotation began") from None
        return


def read_grant(home: Home, holder: str, state_key: bytes) -> list[ClassGeneration]:
    """Return the newest keys that root left for the holder of a credential; none if it left none that can be read."""
    for number in reversed(home.numbers(f"grant/{holder}")):
        name = names.numbered("grant", holder, number)
        try:
            sealed = home.read_sealed(name)
            if sealed.signer_name != ROOT:
                continue
            body = parse_canonical(unseal(sealed, state_key, name), name)
            listed = body["classes"]
            if body.get("name") == name and isinstance(listed, list):
                return [ClassGeneration.decode(c) for c in listed]
        except (DamageError, KeyError, TypeError, ValueError):
            continue
    return []


def replaced(certificate: WriterCertificate, seed: bytes) -> AccessError:
    """Return the error for a credential whose signing key is not the certified one."""
    if certificate.joining:
        return EnrolmentError(
            "this enrolment file is no credential yet", next="run `holdfast enroll join FILE` on the host."
        )
    if certificate.join_until is not None and any(former.public == public_of(seed) for former in certificate.former):
        return EnrolmentError(
            "a host joined with this enrolment file already",
            next="use the credential that `holdfast enroll join` wrote there.",
        )
    if any(former.public == public_of(seed) for former in certificate.former):
        return KeyReplacedError("the signing key of this credential was replaced")
    return WrongKeyError("the credential does not fit its certificate")

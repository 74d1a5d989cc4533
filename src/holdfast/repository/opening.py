"""Opening a vault: from a secret to its root key, from there to the keyring; and what root left for the holder of a credential."""

from __future__ import annotations

import functools
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import (
    AccessError,
    DamageError,
    EnrolmentError,
    KeyReplacedError,
    KeyRotationError,
    KeySlotsDamagedError,
    ObjectMissingError,
    VaultMissingError,
    VersionError,
    WrongKeyError,
)
from holdfast.repository import names, slots
from holdfast.repository.bodies import Slot, VaultHeader, WriterCertificate
from holdfast.repository.home import ROOT, Home, first_valid
from holdfast.repository.keyring import ClassGeneration, Keyring, public_of
from holdfast.repository.missing import missing_slots
from holdfast.repository.objects import damaged, of_other_vault, parse_canonical, parse_control, unseal
from holdfast.repository.wraps import Attempts, readable_wraps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.base.environment import Environment
    from holdfast.repository.credentials import Secret
    from holdfast.repository.slots import OpenedSlot
    from holdfast.stores.protocol import Store


def open_home(store: Store, env: Environment) -> tuple[VaultHeader, Home]:
    """Return a vault's header, from its twin where it is lost, and its home as anybody sees it: no secret is needed.

    `VaultMissingError`, `VersionError`; `DamageError` if neither header nor twin can be read.
    """
    try:
        return first_valid(store, names.VAULT, lambda data: _home_of(store, data, env))
    except ObjectMissingError:
        if any(next(iter(store.list(f"{kind}/")), None) for kind in ("keyring", names.TWIN)):
            raise VaultMissingError(
                "the header of the vault at this place is lost, and so is its twin", next=_NO_HEADER
            ) from None
        raise VaultMissingError("there is no vault at this place") from None
    except DamageError as error:
        error.next = _NO_HEADER
        raise


_NO_HEADER = (
    "put the object `vault` back from a copy of the home (`copy/vault` there) or of the store;"
    " the rescue reader restores without it."
)
_NO_KEYRING = "put the objects under `keyring/` back from a copy of the home or of the store: nothing is read without."


def header_bytes(store: Store) -> bytes:
    """Return the bytes of a vault's header, or of its twin. `ObjectMissingError`, `DamageError`, `VersionError`."""

    def whole(data: bytes) -> bytes:
        parse_control(data, names.VAULT, "")
        return data

    return first_valid(store, names.VAULT, whole)


def _home_of(store: Store, data: bytes, env: Environment) -> tuple[VaultHeader, Home]:
    control = parse_control(data, names.VAULT, "")
    header = VaultHeader.decode(control.body)
    if header.format_ != 1:
        raise VersionError(f"the vault has format {header.format_}; this release reads 1")
    try:
        return header, Home(store, bytes.fromhex(str(control.body["vault"])), header.root_public, env)
    except ValueError:
        raise DamageError("the vault's header is malformed") from None


def open_root(home: Home, secret: Secret) -> tuple[OpenedSlot, Keyring]:
    """Try every slot of the secret's method; return what opens, with the newest keyring that any of it opens.

    `WrongKeyError`, `ShareError`, `KeyServiceError`; `KeySlotsDamagedError` if the slot that the secret opens may be damaged and no
    other takes such a secret; `DamageError` if no keyring could be read.
    """
    tried = _Tried(Attempts(home))
    best: tuple[OpenedSlot, Keyring] | None = None
    for opened in (each for name in home.listed("key") for each in _opened(home, name, secret, tried)):
        try:
            keyring = read_keyring(home, opened.root_key)
        except DamageError as error:
            # If all keyrings are whole, and none is of this root key, it was replaced, or is somebody else's.
            numbers = home.numbers("keyring")
            whole = bool(numbers) and all(_by_root(home, names.numbered("keyring", n)) for n in numbers)
            tried.replaced, tried.broken = (error, tried.broken) if whole else (tried.replaced, error)
            continue
        if best is None or keyring.number > best[1].number:
            best = opened, keyring
        if keyring.number == max(home.numbers("keyring")):
            break
    if best is not None:
        return best
    gone = len(missing_slots(home, readable_wraps(home)[0]))
    tried.slots, tried.damaged = tried.slots + gone, tried.damaged + gone
    raise tried.error(secret)


@dataclass(slots=True)
class _Tried:
    """What came of the slots of a vault, for the error if none opened."""

    attempts: Attempts
    slots: int = 0
    damaged: int = 0
    foreign: int = 0
    """Damaged ones that are whole, and another vault's."""
    refused: int = 0
    """Slots that can be read, take such a secret, and are for another."""
    broken: DamageError | None = None
    """The secret opened a slot, and no keyring could be read."""
    replaced: DamageError | None = None
    """It opened one, and all keyrings are sealed under another root key."""

    def error(self, secret: Secret) -> DamageError | WrongKeyError:
        """Return what to tell. That a slot is damaged is never told as a wrong secret, nor is a wrong secret told as damage."""
        found = self.broken or (None if self.refused else self.replaced)
        if found is not None:
            return found
        if self.foreign == self.slots > 0 and not self.attempts.knows_slots:
            return DamageError(
                "the vault's header names another vault than all its keys: it was exchanged", next=_NO_HEADER
            )
        if not self.slots:
            return KeySlotsDamagedError(
                "every key slot of the vault is gone, and so are their twins: no secret can open it now",
                slots=0,
                damaged=0,
            )
        if self.damaged == self.slots:
            return KeySlotsDamagedError(
                f"all {self.slots} key slots of the vault are damaged, and so are their twins: no secret can open it now",
                slots=self.slots,
                damaged=self.damaged,
            )
        if self.damaged and not self.refused:
            return KeySlotsDamagedError(
                f"{self.damaged} of the vault's {self.slots} key slots are damaged, and no other takes such a secret",
                next=_OTHER_KEY,
                slots=self.slots,
                damaged=self.damaged,
            )
        refusal = slots.refusal(secret)
        if self.damaged:
            refusal.what += (
                f"; {self.damaged} of its {self.slots} key slots are damaged, and its own may be one of them"
            )
            refusal.next = f"if it is the right one, {_OTHER_KEY}"
        return refusal


_OTHER_KEY = (
    "open the vault with another of its keys, the recovery kit for instance, and run `holdfast repair`;"
    " else put the slot back from a copy of the home."
)


def _opened(home: Home, name: str, secret: Secret, tried: _Tried) -> Iterator[OpenedSlot]:
    """Yield what a slot holds, and then its twin, if it is for this secret and can be read; tell what came of it.

    Nobody signs slots: one that does not open, or opens to a root key that opens nothing, may be laid over the right one.
    """
    seen: list[bytes] = []
    read = refused = left = foreign = False
    for form in (name, names.twin(name)):
        try:
            data = home.store.get(form)
        except ObjectMissingError:
            continue
        if data in seen:
            continue
        seen.append(data)
        try:
            _, slot = home.verify(name, data, Slot)
            found = slots.unwrap(slot, secret, home.vault_id)
        except DamageError:
            left = left or tried.attempts.left(name, data)
            foreign = foreign or of_other_vault(name, data, home.vault_id)
            continue
        read = True
        if found is not None:
            yield found
        else:
            refused = refused or slot.method == slots.method_of(secret)
    bad = not read and not left
    tried.slots += read or bad
    tried.damaged += bad
    tried.foreign += bad and foreign
    tried.refused += refused


def read_keyring(home: Home, root_key: bytes) -> Keyring:
    """Return the highest keyring that opens, with the class keys that lower ones alone hold: a number was stepped over then.

    `DamageError` if none opens, `VersionError` if the only ones are newer.
    """
    keyring = _highest_keyring(home, root_key)
    if not keyring.has_gaps:
        return keyring
    for number in reversed([n for n in home.numbers("keyring") if n < keyring.number]):
        with suppress(DamageError, VersionError):
            keyring = keyring.with_lost(open_keyring(home, names.numbered("keyring", number), root_key).classes)
    return keyring


def _highest_keyring(home: Home, root_key: bytes) -> Keyring:
    failure: Exception = DamageError("the vault has no keyring", next=_NO_KEYRING)
    for number in reversed(home.numbers("keyring")):
        name = names.numbered("keyring", number)
        try:
            return open_keyring(home, name, root_key)
        except DamageError as error:
            error.next = _NO_KEYRING
            failure = error
        except VersionError as error:
            failure = error
    raise failure


def open_keyring(home: Home, name: str, root_key: bytes) -> Keyring:
    """Open one keyring object, or its twin. One that is not the keyring that its name says is none."""

    def opened(data: bytes) -> Keyring:
        keyring = keyring_in(home, name, data, root_key)
        if keyring.number != names.last_number(name):
            raise damaged(name, f"it is keyring {keyring.number}")
        return keyring

    return first_valid(home.store, name, opened)


def keyring_in(home: Home, name: str, data: bytes, root_key: bytes) -> Keyring:
    """Open the bytes of a keyring object, whichever number it has."""
    sealed = home.verify_sealed(name, data)
    return Keyring.decode(parse_canonical(unseal(sealed, root_key, name), "the keyring"))


def is_of_other_key(home: Home, number: int, root_key: bytes) -> bool:
    """Return whether a keyring is root's and sealed under another root key than the one at hand."""
    name = names.numbered("keyring", number)
    try:
        first_valid(home.store, name, lambda data: keyring_in(home, name, data, root_key))
    except DamageError:
        return _by_root(home, name)
    return False


def _by_root(home: Home, name: str) -> bool:
    try:
        return home.read_sealed(name).signer_name == ROOT
    except DamageError:
        return False


def require_newest(home: Home, keyring: Keyring, root_key: bytes) -> None:
    """Refuse to change keys while another root key is on its way in. `KeyRotationError`."""
    for number in reversed(home.numbers("keyring")):
        try:
            open_keyring(home, names.numbered("keyring", number), root_key)
        except DamageError:
            if not is_of_other_key(home, number, root_key):
                continue  # whoever may add objects can take any number: what is not the root's ends nothing, nor an older keyring
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
            return first_valid(home.store, name, functools.partial(grant_in, home, name, state_key))
        except DamageError:
            continue
    return []


def grant_in(home: Home, name: str, state_key: bytes, data: bytes) -> list[ClassGeneration]:
    """Open the bytes of what root left for the holder of a credential under a name. `DamageError` if they are not that."""
    sealed = home.verify_sealed(name, data)
    if sealed.signer_name != ROOT:
        raise damaged(name, "root did not sign it")
    try:
        body = parse_canonical(unseal(sealed, state_key, name), name)
        listed = body["classes"]
        if body.get("name") == name and isinstance(listed, list):
            return [ClassGeneration.decode(c) for c in listed]
    except (KeyError, TypeError, ValueError):
        pass
    raise damaged(name, "it is another than its name says")


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

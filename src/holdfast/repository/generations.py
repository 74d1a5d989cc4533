"""Which generations of class keys a vault speaks of elsewhere: a keyring that is lost takes none of their numbers with it.

A generation that two different keys had would be read by one of them only. So a new one is numbered above all that certificates,
the ledger and envelopes name, and no key is changed while they name one that the keyring at hand does not know.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from holdfast.errors import DamageError, KeyringLostError
from holdfast.repository.bodies import EnvelopeBody
from holdfast.repository.keyring import newest
from holdfast.repository.roles import WRITE, WRITER, may
from holdfast.repository.wraps import CREDENTIAL, LIVE, readable_wraps

if TYPE_CHECKING:
    from holdfast.repository.home import Home
    from holdfast.repository.keyring import ClassGeneration, Keyring

GENERATION_MAX = 1 << 24
"""A writer who names a higher one in an envelope says nothing: there is always room for the next."""


def named(home: Home, *, revoked: bool = True) -> dict[int, int]:
    """Return the highest generation of each class that anything names which can be read.

    Without `revoked` the envelopes of writers who were revoked say nothing: who stole a credential stops no change of keys with
    it once that is taken away.
    """
    found = certified(home)
    for name in home.listed("snapshot"):
        try:
            read, body = home.read(name, EnvelopeBody)
        except DamageError:
            continue
        certificate = home.certificate(read.signer)
        if certificate is not None and may(certificate.role, WRITE) and (revoked or not certificate.revoked):
            note_higher(found, ((c.class_, c.generation) for c in body.classes))
    return found


def certified(home: Home) -> dict[int, int]:
    """Return the highest generation of each class that root names: in certificates, and in the ledger."""
    found: dict[int, int] = {}
    for holder in home.ids(WRITER):
        certificate = home.certificate(holder, fresh=True)
        if certificate is not None:
            note_higher(found, ((ref.class_, ref.generation) for ref in certificate.newest))
    for wrap in readable_wraps(home)[0]:
        note_higher(found, ((ref.class_, ref.generation) for ref in wrap.body.private))
    return found


def note_higher(found: dict[int, int], refs: Iterable[tuple[int, int]]) -> None:
    """Add classes and generations to the highest that were found."""
    for class_id, generation in refs:
        if generation <= GENERATION_MAX:
            found[class_id] = max(generation, found.get(class_id, 0))


def unknown(found: dict[int, int], classes: Iterable[ClassGeneration]) -> tuple[int, ...]:
    """Return the classes of which a higher generation is named than is known here."""
    known = tuple(classes)
    return tuple(
        class_id
        for class_id, generation in sorted(found.items())
        if (last := newest(known, class_id)) is not None and last.generation < generation
    )


def require_known(home: Home, keyring: Keyring, seen: int) -> None:
    """Refuse to change keys by a keyring that is not the newest; `seen` is the highest that this host opened. `KeyringLostError`."""
    if seen > keyring.number:
        raise KeyringLostError(
            f"this host has opened keyring {seen} of the vault, and the newest that can be read is {keyring.number}"
        )
    lost = unknown(named(home, revoked=False), keyring.classes)
    if lost:
        raise KeyringLostError(
            f"newer keys of {len(lost)} data classes are in use than any keyring holds that can be read",
            classes=len(lost),
        )


def open_to_revoked(home: Home, keyring: Keyring) -> tuple[int, ...]:
    """Return the classes of which a credential that was taken back reads what is stored from now on."""
    taken = {
        (ref.class_, ref.generation)
        for wrap in readable_wraps(home)[0]
        if wrap.body.form == CREDENTIAL and wrap.body.state != LIVE
        for ref in wrap.body.private
    }
    last = {c.id: newest(keyring.classes, c.id) for c in keyring.classes}
    return tuple(sorted(c for c, known in last.items() if known is not None and (c, known.generation) in taken))

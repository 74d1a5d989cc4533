"""What opens a vault is kept twice: `twin/NAME` holds the bytes of `NAME` (docs/format/objects.md, ADR 0031).

Header, key slots, keyrings, certificates, grants, and by which key a host joined, are small, change rarely, and without
them nothing else can be read. A twin is put after its object and deleted before it, so that a twin alone always means that the
object was lost. It is believed by the rules of the object's own name, and never before an object that counts: see
`home.first_valid`, by which everybody reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import DamageError, ObjectMissingError, VersionError
from holdfast.repository import names
from holdfast.repository.bodies import Slot, VaultHeader
from holdfast.repository.home import ROOT
from holdfast.repository.objects import damaged, parse_control

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.repository.home import Home

ERASABLE = ("keyring", "grant")
"""Kinds that hold private keys of classes: a twin of one that was deleted would undo an erasure."""


def originals(home: Home) -> Iterator[str]:
    """Yield the names of the objects themselves that are there and are kept twice."""
    if home.store.size(names.VAULT) is not None:
        yield names.VAULT
    for kind in names.TWINNED[1:]:
        yield from (info.name for info in home.store.list(f"{kind}/") if names.is_known(info.name))


def twins(home: Home) -> Iterator[str]:
    """Yield the names, without `twin/`, of those of which a second form is there."""
    for info in home.store.list(f"{names.TWIN}/"):
        if names.is_known(info.name):
            yield names.untwinned(info.name)


def prove(home: Home, name: str, data: bytes) -> None:
    """Raise `DamageError` unless bytes are what may stand under a name that is kept twice, as far as no key is needed."""
    kind = name.partition("/")[0]
    if kind == names.VAULT:
        if VaultHeader.decode(parse_control(data, name, home.vault).body).root_public != home.root_public:
            raise damaged(name, "it names another root")
    elif kind == "key":
        home.verify(name, data, Slot)
    elif kind == "writer":
        home.certificate_in(name, data)
    elif kind == "joined":
        home.joined_in(name, data)
    elif home.signer_of(name, data) != ROOT:
        raise damaged(name, "root did not sign it")


def keep_all(home: Home) -> int:
    """Keep twice what is not yet: an older release made it, or a crash came before its twin. Return how many.

    Two listings and nothing else where all is kept. What does not prove itself is left to `repair`.
    """
    there, done = set(twins(home)), 0
    for name in originals(home):
        if name in there:
            continue
        try:
            data = home.store.get(name)
            prove(home, name, data)
        except (DamageError, VersionError):
            continue
        home.keep_twin(name, data)
        done += 1
    return done


def strange_twins(home: Home) -> int:
    """Return how many twins of keyrings and grants hold other bytes than what they are twins of, or have none any more."""
    return sum(
        _bytes(home, name) != _bytes(home, names.twin(name))
        for name in twins(home)
        if name.partition("/")[0] in ERASABLE
    )


def _bytes(home: Home, name: str) -> bytes:
    try:
        return home.store.get(name)
    except ObjectMissingError:
        return b""


__all__ = ["ERASABLE", "keep_all", "originals", "prove", "strange_twins", "twins"]

"""Writer states: chains of `state/ID/SOURCE/N`, a whole one and differences upon it (docs/format/trees.md).

A writer reads its own back when its local cache is lost. Chains are bounded: after :data:`CHAIN_LINKS` differences a
whole state is written, and what lies before the newest whole one goes with the next prune.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import DamageError
from holdfast.repository import names
from holdfast.repository.objects import unseal

if TYPE_CHECKING:
    from holdfast.repository.repository import Repository

CHAIN_LINKS = 16
"""Differences in a row; then a whole state is stored again."""
_MODE_AT, _BASE = 1, 0


def is_base(payload: bytes) -> bool:
    """Return whether a state's plaintext is a whole one, not a difference."""
    return len(payload) > _MODE_AT and payload[_MODE_AT] == _BASE


def read_state(repository: Repository, source: str) -> list[bytes]:
    """Return the writer's own state of a source: the newest whole one that can be read, and what follows it.

    An object that cannot be read ends the chain before it. Nothing before the newest whole one is read.
    """
    chain: list[bytes | None] = []
    for name in reversed(_listed(repository, repository.writer_id, source)):
        payload = _read(repository, name, repository.state_key)
        chain.append(payload)
        if payload is not None and is_base(payload):
            break
    found: list[bytes] = []
    for payload in reversed(chain):
        if payload is None:
            break
        found.append(payload)
    return found if found and is_base(found[0]) else []


def next_number(repository: Repository, source: str) -> int:
    """Return the number of the next state of a source."""
    listed = _listed(repository, repository.writer_id, source)
    return names.last_number(listed[-1]) + 1 if listed else 0


def is_long(repository: Repository, source: str) -> bool:
    """Return whether a source's chain is so long that a whole state is due: told by the objects there are."""
    listed = _listed(repository, repository.writer_id, source)
    return bool(listed) and names.last_number(listed[-1]) % (CHAIN_LINKS + 1) == CHAIN_LINKS


def collect_states(repository: Repository) -> int:
    """Delete what lies before the newest whole state of every source; return how many objects went. Needs the root key.

    States of a writer whose key is not in the keyring, and chains without a whole state that can be read, are left alone.
    """
    home, gone = repository.home, 0
    chains: dict[tuple[str, str], list[str]] = {}
    for name in home.listed("state"):
        _, writer, source, _ = name.split("/")
        chains.setdefault((writer, source), []).append(name)
    for (writer, _), listed in sorted(chains.items()):
        key = repository.keyring.state_key(writer) if repository.keyring is not None else None
        if key is None or len(listed) <= CHAIN_LINKS:
            continue
        for at in range(len(listed) - 1, 0, -1):
            payload = _read(repository, listed[at], key)
            if payload is not None and is_base(payload):
                for name in listed[:at]:
                    repository.store.delete(name)
                gone += at
                break
    return gone


def _listed(repository: Repository, writer: str, source: str) -> list[str]:
    return sorted(repository.home.listed(f"state/{writer}/{source}"))


def _read(repository: Repository, name: str, key: bytes) -> bytes | None:
    try:
        return unseal(repository.home.read_sealed(name), key, name)
    except DamageError:
        return None

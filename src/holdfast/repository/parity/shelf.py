"""Where parity objects lie, and reading, putting and deleting them: on the vault's one store, or on several.

The parity of metadata stays on the home. That of data packs is ciphertext of their class, and goes to a store that the
class's policy names and to no other; it has one copy.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.base.data_classes import CLASS_NAMES
from holdfast.base.defaults import PARITY_ROWS
from holdfast.classes.routing import home_only, place
from holdfast.errors import (
    DamageError,
    HoldfastError,
    InternalError,
    ObjectMissingError,
    StoreError,
    StoreUnreachableError,
)
from holdfast.repository.objects import sha256
from holdfast.repository.parity.frame import (
    HEADER_BYTES_MAX,
    META,
    PREFIX,
    Group,
    Stored,
    parity_name,
    parse_header,
    row_bytes,
)
from holdfast.repository.placed import PlacedStore

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.repository.repository import Repository
    from holdfast.stores.protocol import Store

__all__ = ["Broken", "Shelf"]

_CACHE_HEADER = "holdfast-parity-1"

Broken = tuple[str, str]
"""A parity object that cannot be read as one (SHA), and why."""


class Shelf:
    """The parity objects of one vault. `folder` is local state: rows under construction, and headers read before."""

    def __init__(self, repository: Repository, folder: Path, *, rows: int = PARITY_ROWS) -> None:
        """`rows` is what the site says for packs that exist once."""
        self.repository = repository
        self.vault = repository.vault_id
        self.folder = folder
        self._rows = rows

    @property
    def _stores(self) -> dict[str, Store]:
        store = self.repository.store
        return dict(store.stores) if isinstance(store, PlacedStore) else {"home": store}

    def wanted(self, class_id: int, folder: int) -> int:
        """Return how many rows a full group of a class has: 0 where its packs lie on several stores, or by the site's word."""
        store = self.repository.store
        if not isinstance(store, PlacedStore):
            return self._rows
        policy = store.book.of(CLASS_NAMES.get(class_id, ""))
        if policy.parity is not None:
            return policy.parity
        return self._rows if folder == META or min(policy.copies, len(policy.stores)) == 1 else 0

    def listed(self) -> dict[str, int]:
        """Return the hash of every parity object, and its size."""
        every = (info for store in self._stores.values() for info in store.list(PREFIX))
        return {info.name.rpartition("/")[2]: info.size for info in every}

    def groups(self) -> tuple[tuple[Stored, ...], tuple[Broken, ...]]:
        """Return every group by the headers of its rows, and the objects that have none. Rows themselves are not read."""
        known = self._cached()
        headers: dict[str, bytes] = {}
        broken: list[Broken] = []
        rows: dict[Group, dict[int, str]] = defaultdict(dict)
        for sha, size in sorted(self.listed().items()):
            name = parity_name(sha)
            try:
                head = known.get(sha) or self._read(name, 0, HEADER_BYTES_MAX)
                group, row, end = parse_header(head, self.vault, name)
            except ObjectMissingError:
                continue  # deleted meanwhile
            except DamageError as error:
                broken.append((sha, error.what))
                continue
            if size != end + group.length:
                broken.append((sha, f"object {name} has another length than its header says"))
                continue
            headers[sha] = head[:end]
            rows[group][row] = sha
        self._remember(headers)
        return tuple(Stored(group, tuple(sorted(found.items()))) for group, found in rows.items()), tuple(broken)

    def sound(self) -> tuple[tuple[Stored, ...], tuple[Broken, ...]]:
        """Return every group with the rows that are whole, all of them read and hashed, and the objects that are not."""
        groups, broken = self.groups()
        found = []
        for one in groups:
            rows = []
            for row, sha in one.rows:
                try:
                    self.row(sha)
                except DamageError as error:
                    broken = (*broken, (sha, error.what))
                else:
                    rows.append((row, sha))
            found.append(replace(one, rows=tuple(rows)))
        return tuple(found), broken

    def row(self, sha: str) -> bytes:
        """Return a row, proved. `DamageError`."""
        return row_bytes(self._read(parity_name(sha)), self.vault, sha)

    def put(self, group: Group, data: bytes) -> str:
        """Store one row of a group; return its hash. `StoreUnreachableError` if no store takes it."""
        sha = sha256(data)
        name = parity_name(sha)
        store = self.repository.store
        if not isinstance(store, PlacedStore):
            _put(store, name, data)
            return sha
        class_name = CLASS_NAMES.get(group.class_id, "")
        wanted = home_only() if group.folder == META else place(store.book, class_name)
        allowed = store.stores if group.folder == META else store.book.allowed(class_name)
        failure: StoreError | None = None
        for where in wanted.candidates:
            if where not in allowed or store.is_down(where):
                continue
            try:
                store.join(where, claim=True)
                _put(store.stores[where], name, data)
                lock = store.book.stores[where].lock_seconds
                if lock:
                    store.stores[where].retain_until(name, store.env.now() + timedelta(seconds=lock))
            except StoreError as error:
                store.note_failure(where, error)
                failure = error
                continue
            return sha
        raise failure or StoreUnreachableError("no store takes the parity of a data class now")

    def delete(self, sha: str) -> None:
        """Delete a parity object wherever it lies. A store that refuses keeps it; the next round asks again."""
        for store in self._stores.values():
            try:
                store.delete(parity_name(sha))
            except HoldfastError:
                continue

    def _read(self, name: str, offset: int = 0, length: int = -1) -> bytes:
        failure: StoreError | None = None
        for store in self._stores.values():
            try:
                return store.get_range(name, offset, length)
            except ObjectMissingError:
                continue
            except StoreError as error:
                failure = error
        raise failure or ObjectMissingError(f"object {name} is in none of the stores")

    # --- headers read before ----------------------------------------------------------------------------------------

    def _cached(self) -> dict[str, bytes]:
        """Return headers that were read before: what a hash names does not change."""
        try:
            lines = (self.folder / "headers").read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return {}
        found = {}
        for line in lines[1:] if lines and lines[0] == _CACHE_HEADER else []:
            sha, _, text = line.partition(" ")
            try:
                found[sha] = bytes.fromhex(text)
            except ValueError:
                continue
        return found

    def _remember(self, headers: dict[str, bytes]) -> None:
        new = self.folder / "headers.new"
        lines = (_CACHE_HEADER, *(f"{sha} {head.hex()}" for sha, head in sorted(headers.items())))
        try:
            new.write_text("\n".join(lines) + "\n", encoding="ascii")
            new.chmod(0o600)
            new.replace(self.folder / "headers")
        except OSError:
            return


def _put(store: Store, name: str, data: bytes) -> None:
    """Put a parity object. Other bytes under its name are a damaged one: it is replaced."""
    try:
        store.put(name, data)
    except InternalError:
        if sha256(store.get(name)) == sha256(data):
            raise
        store.delete(name)
        store.put(name, data)

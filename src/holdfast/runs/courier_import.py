"""The far side of an air gap: media are proved and taken into a vault's folder, in order. It needs no key.

Whose media they are is decided by the vault that is there; at the first import by the medium, and the vault's id in the
result is what a person compares with the recovery kit. Packs come before what relies on them, decisions last: a vault
that is being filled is at each moment an older, whole one.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base import environment
from holdfast.base.events import Events, Progress, ignore
from holdfast.errors import DamageError, InternalError, MediumDamageError, MediumError, MediumGapError, UsageError
from holdfast.repository import names
from holdfast.repository.bodies import VaultHeader
from holdfast.repository.objects import parse_control, sha256
from holdfast.repository.transfer import (
    Manifest,
    Receipt,
    ReceiptPart,
    SetObject,
    digest_of,
    open_manifest,
    parse_list,
    write_receipt,
)
from holdfast.runs.medium import COURIER, HEADER, OBJECTS, RECEIPTS, Full, Medium
from holdfast.runs.tier_results import ImportResult
from holdfast.stores.local import LocalStore, put_file

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["courier_import"]

STATE = ".courier"
"""The far side's record, in the vault's folder under a name that no store lists."""


@dataclass(slots=True)
class _FarState:
    """What was imported from one courier."""

    set: int = 0
    complete: bool = True
    media: list[dict[str, object]] = field(default_factory=list)
    """Parts of the receipt of the set that is being imported, or was imported last."""

    @property
    def medium(self) -> int:
        """The number of the last medium of `set`."""
        return len(self.media)


def courier_import(
    medium: str | os.PathLike[str],
    into: str | os.PathLike[str],
    *,
    events: Events = ignore,
    env: Environment | None = None,
) -> tuple[ImportResult, ...]:
    """Take every manifest of a medium that is not imported yet into a vault's folder; return one result for each.

    Everything is hashed before and read back after it is stored. A set that is complete gets a receipt, on the medium and
    beside the vault. Idempotent: what is there is passed over. `MediumGapError` if a medium or set before it is missing,
    `MediumDamageError` if the medium holds other bytes than its signed list (whole packs are kept, nothing that decides is),
    `MediumError` if it is another vault's.
    """
    env = env or environment.system()
    disk = Medium(medium)
    marker = disk.marker()
    if marker is None:
        raise MediumError("this is no medium of a courier", next="insert the medium that an export wrote.")
    found = disk.manifests()
    if not found:
        raise MediumError("the medium was not finished", next="run the export again with it, then import it.")
    far = LocalStore(os.fspath(into))
    vault, root_public = _identity(disk, far, marker["vault"], Path(into))
    far.create()
    if not (Path(into) / STATE / HEADER).exists():
        _keep(Path(into), HEADER, disk.read(f"{COURIER}/{HEADER}") or b"")
    results = []
    for place in found:
        data = disk.read(f"{place}/manifest") or b""
        manifest = open_manifest(data, place, vault, root_public)
        state = _load(into, manifest.courier)
        sha = sha256(data)
        if manifest.set < state.set or sha in {part["manifest"] for part in state.media}:
            continue
        _check_order(state, manifest)
        work = _Import(disk, far, vault, manifest, env, events)
        results.append(work.run(place, sha, state, Path(into)))
    if not results:
        raise UsageError("everything on this medium was imported before", next="insert the next one.")
    return tuple(results)


def _identity(disk: Medium, far: LocalStore, claimed: str, into: Path) -> tuple[str, bytes]:
    """Return the vault's id and root key: the far vault's own if there is one, else the medium's. `MediumError` if they differ."""
    begun = into / STATE / HEADER
    if far.exists() and far.size(names.VAULT) is not None:
        data: bytes | None = far.get(names.VAULT)
    else:
        data = begun.read_bytes() if begun.exists() else disk.read(f"{COURIER}/{HEADER}")
    if data is None:
        raise MediumDamageError("the medium lacks the vault's header")
    try:
        control = parse_control(data, names.VAULT, "")
        vault, header = str(control.body["vault"]), VaultHeader.decode(control.body)
    except (DamageError, KeyError):
        raise MediumDamageError("the vault's header is damaged") from None
    if vault != claimed:
        raise MediumError(
            "the medium belongs to another vault than the folder", next="import it into its own vault's folder."
        )
    return vault, header.root_public


def _check_order(state: _FarState, manifest: Manifest) -> None:
    """Raise `MediumGapError` unless the medium is the next one."""
    expected = (state.set + 1, 1) if state.complete else (state.set, state.medium + 1)
    if (manifest.set, manifest.medium) == expected:
        before = str(state.media[-1]["manifest"]) if manifest.medium > 1 else ""
        if manifest.previous != before:
            raise MediumGapError(
                f"medium {manifest.medium} of set {manifest.set} follows another export than what is here"
            )
        return
    if manifest.set == state.set and manifest.medium == 1:
        return  # the set was written anew
    number, medium = expected
    raise MediumGapError(
        f"medium {medium} of set {number} is missing before medium {manifest.medium} of set {manifest.set}"
    )


class _Import:
    """One medium being taken."""

    def __init__(
        self, disk: Medium, far: LocalStore, vault: str, manifest: Manifest, env: Environment, events: Events
    ) -> None:
        self.disk = disk
        self.far = far
        self.vault = vault
        self.manifest = manifest
        self.env = env
        self.events = events
        self.new = self.damaged = self.done = 0

    def run(self, place: str, manifest_sha: str, state: _FarState, into: Path) -> ImportResult:
        began = self.env.monotonic()
        manifest = self.manifest
        objects = parse_list(self.disk.read(f"{place}/objects") or b"", manifest)
        shas = []
        for one in objects:
            sha = self._take(one)
            shas.append(sha)
            self.done += 1
            self.events(Progress("store", self.env.monotonic() - began, self.done, files_total=len(objects)))
        if self.damaged:
            raise MediumDamageError(
                f"{self.damaged} of the {len(objects)} objects of medium {manifest.medium} of set {manifest.set} are"
                " damaged or missing",
                objects=self.damaged,
            )
        part = ReceiptPart(
            manifest.medium, manifest_sha, digest_of(manifest.challenge, shas), len(objects), manifest.bytes_
        )
        media = [] if manifest.medium == 1 else state.media
        new_state = _FarState(manifest.set, manifest.last, [*media, part.encode()])
        receipt = self._receipt(new_state, into) if manifest.last else ""
        _save(into, manifest.courier, new_state)
        return ImportResult(
            vault=self.vault,
            set=manifest.set,
            medium=manifest.medium,
            objects=len(objects),
            new_objects=self.new,
            bytes=manifest.bytes_,
            complete=manifest.last,
            receipt=receipt,
            seconds=self.env.monotonic() - began,
        )

    def _take(self, one: SetObject) -> str:
        """Store one object and return the hash of what is read back. After the first damage nothing but packs is stored."""
        held = self.far.get(one.name) if self.far.size(one.name) == one.size else None
        if held is not None and sha256(held) == one.sha:
            return one.sha
        data = self.disk.read(f"{OBJECTS}/{one.name}")
        if data is None or sha256(data) != one.sha:
            self.damaged += 1
            return ""
        if self.damaged and not one.name.startswith(("data/", "meta/")):
            return ""
        try:
            self.far.put(one.name, data)
        except InternalError:
            raise MediumError(
                "the vault at the far side holds other bytes under a name of this medium: it was written to, or is damaged",
                safe="what was imported before is as it was.",
                next="import into an empty folder from the first set on.",
            ) from None
        self.new += 1
        return sha256(self.far.get(one.name))

    def _receipt(self, state: _FarState, into: Path) -> str:
        """Write the receipt beside the vault and onto the medium; return its name there. A full medium keeps none."""
        parts = tuple(ReceiptPart.decode(part) for part in state.media)
        receipt = Receipt(self.manifest.courier, state.set, parts, self.env.now())
        data = write_receipt(receipt, self.vault, self.env)
        name = f"{self.vault[:8]}-{self.manifest.courier}-{state.set:08d}.receipt"
        _keep(into, name, data)
        try:
            self.disk.write(f"{RECEIPTS}/{name}", data)
        except (Full, MediumError):
            return f"{STATE}/{name}"
        return f"{RECEIPTS}/{name}"


def _load(into: str | os.PathLike[str], courier: str) -> _FarState:
    path = Path(into) / STATE / f"{courier}.json"
    return _FarState(**json.loads(path.read_text(encoding="ascii"))) if path.exists() else _FarState()


def _save(into: str | os.PathLike[str], courier: str, state: _FarState) -> None:
    _keep(Path(into), f"{courier}.json", json.dumps(asdict(state)).encode())


def _keep(into: Path, name: str, data: bytes) -> None:
    folder = into / STATE
    folder.mkdir(exist_ok=True)
    _replace(folder / name, data)


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    put_file(str(new), data)
    os.replace(new, path)

"""What the round-trip tests share: a vault in a folder, backups of a source, restores by the engine and by the rescue reader."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import holdfast_rescue
import rescue_format
import rescue_keys
import rescue_vault

import holdfast
from holdfast.runs.options import BackupOptions
from holdfast.testing import trees
from holdfast.testing.trees import Item

CHUNK_ROLE = 1


@dataclass
class Place:
    """Folders of one test: `vault`, `source`, and targets made on demand. Local state is where HOLDFAST_STATE says."""

    root: Path
    options: BackupOptions = field(default_factory=BackupOptions)
    targets: int = 0

    @property
    def vault(self) -> Path:
        return self.root / "vault"

    @property
    def key(self) -> Path:
        return self.root / "vault.key"

    @property
    def source(self) -> Path:
        return self.root / "source"

    def create(self) -> holdfast.Vault:
        self.source.mkdir(exist_ok=True)
        return holdfast.Vault.create(self.vault, key_file=self.key)

    def open(self) -> holdfast.Vault:
        return holdfast.Vault.open(self.vault, key_file=self.key)

    def backup(self, vault: holdfast.Vault) -> holdfast.BackupResult:
        return vault.backup([self.source], label="rounds", options=self.options)

    def truth(self) -> dict[bytes, Item]:
        """Return what a restore must bring back of the source as it is now."""
        return trees.storable(trees.capture(self.source))

    def target(self) -> Path:
        self.targets += 1
        return self.root / f"target-{self.targets:03d}"

    def restored(self, target: Path) -> dict[bytes, Item]:
        """Return what lies in a target where the source was, and delete the target."""
        found = trees.capture(os.path.join(os.fsencode(target), os.fsencode(self.source).lstrip(b"/")))
        trees.empty(target)
        target.rmdir()
        return found

    def by_engine(self, vault: holdfast.Vault, snapshot: str) -> dict[bytes, Item]:
        target = self.target()
        result = vault.snapshot(snapshot).restore(target)
        assert result.exit_code == 0, result.findings
        return self.restored(target)

    def by_rescue(self, snapshot: str) -> dict[bytes, Item]:
        target = self.target()
        arguments = [str(self.vault), "--key-file", str(self.key), "restore", snapshot, "--to", str(target)]
        assert holdfast_rescue.main(arguments) == 0
        return self.restored(target)

    def chunks_stored_twice(self) -> list[bytes]:
        """Return ids of file chunks that two indexed packs both sealed themselves, by the rescue reader's eyes."""
        secret = rescue_keys.read_secret(str(self.key), passphrase=False)
        vault = rescue_vault.Vault(str(self.vault), secret, note=_refuse)
        packs = {pack.name: pack for run in vault.names("index") for pack in vault.read_run(run)}
        seen: Counter[bytes] = Counter()
        for name, pack in packs.items():
            segments = rescue_format.parse_directory(pack.directory, pack.nonces, pack.size, name)
            for segment in segments.values():
                if segment.origin == pack.nonces[0]:
                    own = enumerate(segment.roles)
                    seen.update(segment.ids[16 * at : 16 * at + 16] for at, role in own if role & 15 == CHUNK_ROLE)
        return [chunk for chunk, times in seen.items() if times > 1]

    def forget_local_state(self) -> None:
        """Lose this host's caches, as a reinstalled host does."""
        shutil.rmtree(os.environ["HOLDFAST_STATE"], ignore_errors=True)


def _refuse(text: str) -> None:
    raise AssertionError(text)


def assert_same(expected: dict[bytes, Item], actual: dict[bytes, Item], what: str) -> None:
    """Fail with the differences, one per line."""
    found = trees.differences(expected, actual, owners=os.geteuid() == 0)
    assert not found, f"{what}:\n{trees.describe(found)}"


def stored(vault: Path) -> dict[str, bytes]:
    """Return every object in a vault's folder but the audit log's anchors: what reads the vault leaves all of them as they are."""
    files = {str(path.relative_to(vault)): path for path in vault.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith("audit/")}

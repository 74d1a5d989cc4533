"""What `Vault` can do with keys: a part of its surface, in a room of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.repository import writers
from holdfast.repository.credentials import Passphrase
from holdfast.runs.operations import audited

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.key_results import ClassRotation, Erasure, KeyRow, Rehearsal, RootRotated, SharesMade

__all__ = ["KeySurface"]


class KeySurface:
    """Key slots, credentials, rotation and erasure, as methods of `Vault`. All but listings need the root key."""

    _vault: OpenVault

    @audited("enroll")
    def enroll_writer(self, label: str, classes: Sequence[str] = (), *, group: str = "") -> bytes:
        """Make a writer that can add to the classes (none: all) and read nothing; return its credential's bytes.

        Writers of one `group` do not store again what another of them stored, once `verify` has countersigned it.
        """
        from holdfast.runs import keys

        return writers.enrol(self._vault.repository, label, keys.class_ids(self._vault, classes), group=group).encode()

    @audited("enroll")
    def enroll_host(self, label: str, classes: Sequence[str] = (), *, group: str = "", days: float = 7.0) -> bytes:
        """Make an enrolment file: one host joins with it, once, within so many days; return its bytes.

        What the file holds lets its finder join first, and read nothing: the host that comes second is refused, and says so.
        """
        from holdfast.runs import keys

        return keys.enrolment(self._vault, label, classes, group=group, days=days)

    @audited("revoke")
    def revoke_writer(self, writer: str) -> None:
        """Revoke a writer by id or label: its index runs are no longer trusted, its open sessions end."""
        repository = self._vault.repository
        writers.revoke(repository, writers.find_writer(repository, writer).id)

    @audited("key")
    def recovery_kit(self, *, label: str = "") -> bytes:
        """Make a new key slot and return it as a recovery kit: a key file with instructions for people."""
        from holdfast.runs import keys

        keys.export(self._vault, {"key": writers.KIT, "label": label})
        return writers.make_recovery_kit(self._vault.repository, label=label)

    @audited("key")
    def add_passphrase(self, passphrase: str, *, label: str = "") -> str:
        """Let a passphrase open the vault, too; return the id of its entry in the ledger."""
        from holdfast.runs import keys

        return keys.add_key(
            self._vault, Passphrase(passphrase), label=label, what={"key": "passphrase", "label": label}
        )

    @audited("key")
    def add_key_service(self, uri: str, *, label: str = "", create: bool = False) -> str:
        """Let a key of a PKCS#11 token or a transit engine open the vault; return the id of its entry in the ledger.

        `create` makes the key if it is not there. `KeyServiceError`, `UsageError` (no such URI), `DriverMissingError`.
        """
        from holdfast.runs import keys

        return keys.add_service(self._vault, uri, label=label, create=create)

    @audited("key")
    def split_key(self, threshold: int, count: int, *, label: str = "") -> SharesMade:
        """Make a new key and split it: any `threshold` of `count` sheets open the vault. The sheets exist only in the result."""
        from holdfast.runs import keys

        return keys.split(self._vault, threshold, count, label=label)

    @audited("key")
    def issue_credential(
        self,
        role: str,
        label: str,
        classes: Sequence[str] = (),
        *,
        days: float | None = None,
        group: str = "",
    ) -> bytes:
        """Issue a credential of a role (`writer`, `restorer`, `verifier`, `auditor`, `pruner`) or a root key file; return it.

        What a role is not given, no program can make up for: see docs/keys.md for what each holds. `days`: until it ends.
        """
        from holdfast.runs import keys

        return keys.issue(self._vault, role, label, classes, days=days, group=group)

    @audited("key")
    def reissue_writer(self, writer: str) -> bytes:
        """Give a writer another signing key; return the credential that replaces its own. What it stored before counts on."""
        repository = self._vault.repository
        return writers.renew_signing_key(repository, writers.find_writer(repository, writer).id).encode()

    def key_ledger(self) -> tuple[KeyRow, ...]:
        """Return every place where a key of the vault was ever written. Any credential may read it: no secret is in it."""
        from holdfast.runs import keys

        return keys.keys(self._vault)

    @audited("revoke")
    def revoke_key(self, name: str) -> ClassRotation | None:
        """Take a key away, by the id or label of its entry in the ledger.

        A slot: the root key is replaced, and sealed to all others. A credential: what it signs counts no more, and the classes that
        it reads get new generations (returned). What its holder read or copied before cannot be taken back.
        """
        from holdfast.runs import keys

        return keys.revoke(self._vault, name)[1]

    @audited("key")
    def rotate_root(self, *, drop: Sequence[str] = (), again: bool = False, dry_run: bool = False) -> RootRotated:
        """Replace the root key and seal the new one to every live key of the ledger but those in `drop`; the old slots die.

        Nobody has to come and present a key. Killed anywhere, the vault opens, and the next call finishes. `again`: begin anew
        although somebody began and ended before anybody had the new key. `KeyRotationError`, `UsageError`.
        """
        from holdfast.runs import keys

        return keys.rotate_root(self._vault, drop=drop, again=again, dry_run=dry_run)

    @audited("key")
    def rotate_classes(self, classes: Sequence[str], *, again: bool = False, dry_run: bool = False) -> ClassRotation:
        """Make new generations of data classes: new content is sealed under them, old content stays readable.

        Holders of credentials find their new keys in the vault. The next backup of each host stores the classes anew.
        `KeyringLostError` while a newer keyring is lost, unless `again` gives up what was sealed under its keys.
        """
        from holdfast.runs import keys

        return keys.rotate_classes(self._vault, keys.class_ids(self._vault, classes), again=again, dry_run=dry_run)

    @audited("shred")
    def shred(
        self, class_name: str, generation: int, *, reason: str, with_snapshots: bool = False, dry_run: bool = False
    ) -> Erasure:
        """Destroy the keys of a generation of a data class; return the signed certificate of what has become of them.

        `ShredRefusedError` under legal hold, minimum retention, for the generation written to, or while snapshots rest on it
        (`with_snapshots` gives their part of the class up). `ApprovalMissingError`. Killed anywhere, the next call finishes.
        """
        from holdfast.runs import keys

        return keys.destroy(
            self._vault, class_name, generation, reason=reason, with_snapshots=with_snapshots, dry_run=dry_run
        )

    def erasures(self) -> tuple[Erasure, ...]:
        """Return the newest certificate of each generation that was destroyed."""
        from holdfast.runs import keys

        return keys.erasures(self._vault)

    @audited("key")
    def certify_erasure(self, class_name: str, generation: int) -> Erasure:
        """Sign anew what has become of the keys of a generation, as the ledger now stands."""
        from holdfast.runs import keys

        return keys.certify(self._vault, class_name, generation)

    @audited("key")
    def key_destroyed(self, name: str, statement: str) -> str:
        """Write into the ledger that somebody destroyed every copy of a revoked key, or a medium; return its entry."""
        from holdfast.runs import keys

        return keys.say_destroyed(self._vault, name, statement)

    @audited("floor")
    def set_minimum_retention(self, days: Mapping[str, int]) -> dict[str, int]:
        """Set for how many days snapshots of classes must be kept, in the vault itself; return what is in force.

        Raising needs nobody; lowering needs the approvals of the policy, if it names `floor`. `ApprovalMissingError`.
        """
        from holdfast.runs import keys

        return keys.set_floors(self._vault, days)

    @property
    def minimum_retention(self) -> dict[str, int]:
        """The minimum retention, in days, of each class that has one in the vault."""
        from holdfast.runs import keys

        return keys.floors_of(self._vault)

    @audited("rehearse")
    def rehearse(self) -> Rehearsal:
        """Record that the recovery kit which opened this vault did. `NotPermittedError` if it was opened by an everyday key."""
        from holdfast.runs import keys

        return keys.rehearse(self._vault)

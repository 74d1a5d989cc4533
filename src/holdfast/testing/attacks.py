"""The one table of attacks: what the attacker holds, what he does, what must be refused, where, and with which code.

It is the denominator of "attacks refused". Each row is carried out by a function of `tests/attacks`, which a test and the
reliability report run. *Holds*: `store`: can write, replace and delete objects on the store, and has no key. `writer`: has the
credential of one host, and can add objects. `source`: makes what is backed up, or what is to be restored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ATTACKS", "Attack", "attack"]

Holds = Literal["store", "writer", "source"]


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack."""

    name: str
    """Stable and unique."""
    holds: Holds
    does: str
    refused: str
    """What must not come of it, and where that is decided."""


ATTACKS: tuple[Attack, ...] = (
    Attack("read with a writer's credential", "writer", "restores, lists and opens parts", "`Vault`: no private key"),
    Attack("open its own pack", "writer", "opens the run key of a pack that it made", "HPKE: no private key"),
    Attack("forget with a writer's credential", "writer", "forgets, prunes, holds, enrolls", "`Repository.root`"),
    Attack(
        "forged tombstone",
        "writer",
        "signs `forgotten/ID` of another's snapshot itself",
        "`decisions.is_forgotten`: root only",
    ),
    Attack(
        "squatted tombstone",
        "writer",
        "puts bytes under `forgotten/ID`",
        "`forget`: what verifies for nobody is replaced",
    ),
    Attack(
        "planted content",
        "writer",
        "claims in its runs what it deleted or spoiled",
        "`trust`: only own and countersigned runs",
    ),
    Attack("forged index run", "writer", "puts a run signed by nobody, by itself for another", "`Home.verify_sealed`"),
    Attack(
        "squatted decision",
        "writer",
        "takes the slots of another's session",
        "`decisions`: the first valid slot counts",
    ),
    Attack(
        "forged copy of a decision",
        "writer",
        "puts a copy of a decision that was never made, of its own and of another's session",
        "`decisions.copied_commit`: the decision in it, by the session's writer",
    ),
    Attack(
        "forged revocation",
        "writer",
        "signs a revocation of another's session",
        "`decisions.counts`: root or the owner",
    ),
    Attack("forged prune round", "writer", "signs condemn, plan and closed naming every pack", "`rounds`: root only"),
    Attack(
        "forged damage list", "writer", "signs a list naming every pack as damaged", "`rounds.read_damaged`: root only"
    ),
    Attack("forged certificate", "writer", "certifies a writer of its own", "`Home.certificate`: root only"),
    Attack(
        "exhausted numbers", "writer", "takes the highest numbers of every list", "`Home.next_number`: steps over them"
    ),
    Attack("forged access policy", "writer", "signs a policy that asks for nobody's approval", "`access`: root only"),
    Attack("forged release", "writer", "signs the release of a legal hold", "`holds`: root only"),
    Attack(
        "crowded history",
        "writer",
        "commits snapshots under another host's source",
        "`retention`: by source and writer",
    ),
    Attack(
        "taken names",
        "writer",
        "takes another's session, snapshot and checkpoint names first",
        "`Session`: begins again",
    ),
    Attack(
        "revoked and still writing", "writer", "commits with a revoked credential", "`listing`: not one of its sessions"
    ),
    Attack(
        "certified by itself",
        "writer",
        "certifies itself, signed by itself, under the next number",
        "`Home.verify_control`: certificates are root's, no other signer is looked up",
    ),
    Attack(
        "planted twins",
        "writer",
        "plants twins of keys, keyrings and certificates to come, and of its own",
        "`first_valid`: a twin counts by the rules of its object, never before it",
    ),
    Attack(
        "stopped revocation",
        "writer",
        "plants bytes under the next access policy, ledger entry and certificates, so that nobody takes its key away",
        "`authorise`, `writers.revoke`: what verifies for nobody is passed over; root clears it by name",
    ),
    Attack(
        "replayed metadata",
        "store",
        "puts one object's bytes under another's name",
        "`objects`: the name is in the bytes",
    ),
    Attack(
        "lost decision",
        "store",
        "deletes a snapshot's decision, then its copy, then its admission, too",
        "`outcome` by the copy, then the admission; `check` by the snapshot that followed",
    ),
    Attack("truncated metadata", "store", "cuts control and sealed objects short", "`objects`: the hash at the end"),
    Attack(
        "exchanged header",
        "store",
        "replaces the vault's header by one of its own root",
        "`Repository.open`: the keyring's root",
    ),
    Attack(
        "older keyring",
        "store",
        "puts an older keyring under a newer number",
        "`read_keyring`: the number is sealed in it",
    ),
    Attack(
        "packs swapped between vaults",
        "store",
        "puts another vault's pack, or its segments, in place",
        "AEAD: vault in the AAD",
    ),
    Attack(
        "packs swapped within a vault",
        "store",
        "exchanges two packs' bytes",
        "names are hashes; the AAD has the origin",
    ),
    Attack("rolled back store", "store", "puts the whole store back to last week", "`runs.witness`, `audit verify`"),
    Attack("impossible key slot", "store", "plants a slot that asks for 10^12 iterations", "`slots.unwrap`: a limit"),
    Attack(
        "decompression bomb in an object",
        "writer",
        "seals a frame that unpacks to more than it states",
        "`objects.unseal`",
    ),
    Attack(
        "decompression bomb in a segment",
        "source",
        "seals a segment that unpacks to more than it states",
        "the engine's segment opener",
    ),
    Attack(
        "path traversal", "source", "names entries `..`, `a/../..`, `/x`, empty, with NUL", "the engine's entry parser"
    ),
    Attack("through a symlink", "source", "a link out of the target, then a file below it", "the engine's extractor"),
    Attack(
        "absurd sizes",
        "source",
        "files, pieces and page maps of 2^60 bytes with nothing in them",
        "limits of the engine",
    ),
    Attack(
        "endless tree",
        "source",
        "a node that is its own child, and nodes of impossible level",
        "the engine's tree walk",
    ),
    Attack("names for terminals", "source", "names with escape sequences and line ends", "`cli`: names are escaped"),
)


def attack(name: str) -> Attack:
    """Return a row by its name. `KeyError`."""
    return {row.name: row for row in ATTACKS}[name]

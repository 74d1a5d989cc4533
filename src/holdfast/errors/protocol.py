"""Errors of the protocol between writers, pruners and verifiers, and of the home it is kept in."""

from __future__ import annotations

from holdfast.errors.core import DamageError, HoldfastError, Retry, Safety, StoreError

__all__ = ["ClassForgottenError", "HomeReplacedError", "NotComparedError", "ReferencesMismatchError"]


class ReferencesMismatchError(DamageError):
    """A snapshot's reference set lacks something that its tree needs: a prune that relied on it would lose data."""

    code = "references-mismatch"
    safety = Safety.DEGRADED
    meaning = "A snapshot's reference set lacks segments that its tree needs; pruning stops."
    safe = "nothing was deleted; the snapshots named restore whole as long as nothing is pruned."
    next = "back up those sources again, then forget the snapshots named by id; report what wrote them."


class NotComparedError(HoldfastError):
    """A snapshot's reference sets were compared with its trees by nobody yet, and nobody here can."""

    code = "not-compared"
    safety = Safety.UNTOUCHED
    retry = Retry.LATER
    meaning = "Nobody has compared a snapshot's reference sets with its trees yet, and the keys for it are not at hand."
    safe = "nothing was deleted."
    next = "run `holdfast verify` with the keys of every data class, then prune again."


class HomeReplacedError(StoreError):
    """This store was the vault's home until another one was promoted in its place."""

    code = "home-replaced"
    meaning = "The store was the vault's home until its copy on another store was promoted in its place."
    safe = "nothing was read or written here; the vault goes on in its new home."
    next = "open the vault at its new home; what only this store still holds stays here untouched."


class ClassForgottenError(HoldfastError):
    """What was asked for belongs to a data class of the snapshot that retention has forgotten."""

    code = "class-forgotten"
    exit_code = 5
    safety = Safety.UNTOUCHED
    meaning = "The data class that was asked for has been forgotten in this snapshot; its other classes are whole."
    safe = "the snapshot's other data classes are whole."
    next = "choose another snapshot, or restore the classes that `holdfast snapshots` lists for this one."

"""What forged trees and segments are tried for. They are written by the tests' own writer of the format, which may lie.

Each is restored by the engine and by the rescue reader: nothing is written outside of the target, nothing wrong under a good name,
and neither needs more memory than the file that it reads.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

import holdfast_rescue
from tests.format import spec_writer as w

import holdfast
from holdfast.cli.browse import _printable as path_text
from holdfast.errors import HoldfastError
from holdfast.repository.hpke import ClassPrivate
from holdfast.testing import trees

MEMORY_KIB_MAX = 200 << 10


class OpenClass(w.Class):
    """A class whose keyring entry has its public half, too, so that the product opens the vault."""

    def record(self):
        found = super().record()
        private = ClassPrivate.decode(found["private"])
        return found | {"public": private.public().encode()}


def vault_of(folder: Path, make) -> w.SpecVault:
    """A vault with one snapshot; `make(vault, data, meta)` returns the root of its tree."""
    with patch.object(w, "Class", OpenClass):
        vault = w.SpecVault(folder / "vault")
    keys = vault.classes["phi"]
    data, meta = w.Pack(vault, keys, 1), w.Pack(vault, keys, 2)
    root = make(vault, data, meta)
    packs = [meta.finish()] + ([data.finish()] if data.segments else [])
    vault.index(keys, packs)
    vault.snapshot({"phi": root})
    return vault


def both_readers(folder: Path, vault: w.SpecVault) -> list[Path]:
    """Restore by the engine and by the rescue reader, whatever they say; return the targets."""
    key = Path(vault.key_file(folder / "key"))
    key.chmod(0o600)
    targets = [folder / "area" / "by-engine", folder / "area" / "by-rescue"]
    targets[0].parent.mkdir()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with (
        patch.dict(os.environ, {"HOLDFAST_STATE": str(folder / "state")}),
        holdfast.Vault.open(vault.root, key_file=key) as opened,
        suppress(HoldfastError),
    ):
        opened.snapshot().restore(targets[0])
    holdfast_rescue.main([vault.root, "--key-file", str(key), "restore", "latest", "--to", str(targets[1])])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_KIB_MAX
    return targets


def inside_only(folder: Path, targets: list[Path], allowed: set[str]) -> None:
    """Nothing but what is allowed lies in the targets, and nothing beside them."""
    beside = {p.name for p in (folder / "area").iterdir()}
    assert beside <= {t.name for t in targets}, beside
    for target in targets:
        found = {str(p.relative_to(target)) for p in target.rglob("*")} if target.exists() else set()
        assert found <= allowed, (target.name, found - allowed)
    trees.empty(folder)


def path_traversal(folder: Path) -> None:
    for number, path in enumerate(
        (b"..", b"../evil", b"d/../../evil", b"/evil", b"d//evil", b"./evil", b"d/ev\0il", b"d/./evil")
    ):
        place = folder / str(number)
        place.mkdir()
        items = sorted(
            [w.Item(b"", 2, mode=0o755), w.inline(b"good", b"good"), w.inline(path, b"evil")], key=lambda i: i.path
        )
        vault = vault_of(place, lambda _v, _d, meta, items=items: w.tree(meta, items, per_leaf=9))
        inside_only(place, both_readers(place, vault), {"good"})


def through_a_symlink(folder: Path) -> None:
    outside = folder / "outside"
    outside.mkdir()
    items = [
        w.Item(b"", 2, mode=0o755),
        w.Item(b"link", 3, target=os.fsencode(outside), mode=0o777),
        w.inline(b"link/evil", b"evil"),
    ]
    vault = vault_of(folder, lambda _v, _d, meta: w.tree(meta, items, per_leaf=9))
    targets = both_readers(folder, vault)
    assert not list(outside.iterdir()), "a file was written through a link"
    inside_only(folder, targets, {"link", "link/evil"})


def absurd_sizes(folder: Path) -> None:
    huge = 1 << 60

    def make(vault, data, meta):
        (place,) = data.add([(1, b"x" * 100)])
        items = [
            w.Item(b"", 2, mode=0o755),
            w.Item(b"a", size=huge, content=lambda _s: b"\x00"),
            w.Item(b"b", size=huge, content=lambda s: b"\x01" + w.piece_list([(huge, place)], s)),
            w.at(3, b"c", huge, [place], head=w.varint(60)),
            w.pieces(b"good", [(100, place)]),
        ]
        del vault
        return w.tree(meta, items, per_leaf=9)

    targets = both_readers(folder, vault_of(folder, make))
    for target in targets:
        for name in ("a", "b", "c"):
            path = target / name
            assert not path.exists() or path.stat().st_blocks < 1000, f"{name} was made of nothing"
    inside_only(folder, targets, {"good", "a", "b", "c"})


def endless_tree(folder: Path) -> None:
    def make(vault, data, meta):
        del vault, data
        # A node of level 1 whose only child is the node itself: the pack's first segment, first chunk.
        places = w.Places()
        nonce = meta.nonce[:16]
        child = w.varint(0) + w.field_(b"a") + places.add((nonce, 1, 0)) + w.varint(1 << 40) + w.varint(1 << 50)
        (root,) = meta.add([(2, bytes([1, 1]) + places.table() + w.varint(1) + child)])
        return root, 1 << 40, 1 << 50

    inside_only(folder, both_readers(folder, vault_of(folder, make)), set())


def bomb_in_a_segment(folder: Path) -> None:
    """A segment that unpacks to 512 MiB and states 100 bytes."""
    bomb = w.compress(bytes(512 << 20))

    def make(vault, data, meta):
        with patch.object(w, "compress", lambda _plain: bomb):
            (place,) = data.add([(1, b"x" * 100)])
        items = [w.Item(b"", 2, mode=0o755), w.pieces(b"bad", [(100, place)]), w.inline(b"good", b"good")]
        del vault
        return w.tree(meta, items, per_leaf=9)

    inside_only(folder, both_readers(folder, vault_of(folder, make)), {"good", "bad.damaged", "bad.damaged.map"})


def names_for_terminals(_folder: Path) -> None:
    for name in (b"a\x1b]0;owned\x07", b"a\nexit code: 0", b"a\r", b"a\xff\xfe", "a\u202e".encode(), b"a\x9b31m"):
        shown = path_text(name)
        assert shown.isprintable(), name
        assert "\x1b" not in shown
        assert "\u202e" not in shown

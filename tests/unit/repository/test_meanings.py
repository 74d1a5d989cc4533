"""Of each kind of object that the format has, `check` says what damage of it means, what is safe, and what to do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.repository import names
from holdfast.repository.check import check
from holdfast.repository.meanings import MEANINGS, meaning_of
from holdfast.repository.repository import Repository
from holdfast.stores.memory import MemoryStore

FORMAT = Path(__file__).resolve().parents[3] / "docs" / "format" / "objects.md"
ONE, TWO, SHA, LAST = "ab" * 16, "cd" * 16, "ef" * 32, "00000007"
BY_ID = ("key", "joined", "session", "committed", "snapshot", "admission", "forgotten", "approval")
BY_NUMBER = ("keyring", "shred", "floor", "rehearsal", "condemn", "plan", "closed", "damaged", "access", "epoch")
BY_BOTH = ("writer", "grant", "wrap", "checkpoint", "ack", "decision", "compared", "hold", "audit")
SAMPLES = {
    "vault": "vault",
    **{kind: f"{kind}/{ONE}" for kind in BY_ID},
    **{kind: f"{kind}/{LAST}" for kind in BY_NUMBER},
    **{kind: f"{kind}/{ONE}/{LAST}" for kind in BY_BOTH},
    **{kind: f"{kind}/{ONE}/1" for kind in ("part", "dropped")},
    **{kind: f"{kind}/{SHA}" for kind in ("refs", "index", "countersign")},
    **{kind: f"{kind}/ef/{SHA}" for kind in ("data", "meta", "parity")},
    "state": f"state/{ONE}/{TWO}/{LAST}",
    "twin": f"twin/key/{ONE}",
}
PACKS = {"data", "meta", "parity"}


def test_the_table_has_every_kind_of_the_format_and_no_other() -> None:
    listed = set()
    for row in re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", FORMAT.read_text(), re.MULTILINE):
        if row[1].strip() not in {"any bytes"}:
            listed |= {name.split("/")[0] for name in re.findall(r"`([a-z/]+)", row[0])}
    listed -= {"copy"}
    assert listed == MEANINGS.keys() == SAMPLES.keys()
    assert all(names.is_known(name) for name in SAMPLES.values())


@pytest.mark.parametrize("kind", sorted(SAMPLES.keys() - PACKS))
def test_of_each_kind_it_is_said(repository: Repository, store: MemoryStore, kind: str) -> None:
    name = SAMPLES[kind]
    store.objects[name] = b"torn"
    if kind == "vault":
        del store.objects["twin/vault"]
    found = next(f for f in check(repository).findings if f.object == names.untwinned(name))
    meaning = meaning_of(name)
    if kind == "twin":
        assert "the twin of object" in found.text
        assert "`holdfast repair`" in found.text
    else:
        assert found.kind == "frame"
        assert meaning.means in found.text
        assert f"SAFE: {meaning.safe}" in found.text
        assert f"NEXT: {meaning.next}" in found.text
    for said in (meaning.means, meaning.safe, meaning.next):
        assert said
        assert not said.endswith(".")


@pytest.mark.parametrize("kind", ["wrap", "writer", "access", "floor", "shred", "joined"])
def test_what_nobody_may_guess_waits_for_a_person_and_names_the_way(kind: str) -> None:
    meaning = MEANINGS[kind]
    assert "copy of the home" in meaning.next
    assert meaning.safe

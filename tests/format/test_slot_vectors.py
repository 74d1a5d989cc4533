"""The known slot and shares open by the library and by the rescue reader alike, and follow from the specification's formulas."""

import hashlib
import json
from pathlib import Path

import pytest
import rescue_keys
import rescue_shares
from rescue_format import Damage, hkdf

from holdfast.repository import slots
from holdfast.repository.bodies import Slot
from holdfast.repository.credentials import KeyFile, Shares
from holdfast.repository.hpke import ClassPrivate
from holdfast.repository.objects import b64
from holdfast.repository.shares import digest_of_share

VECTORS = json.loads((Path(__file__).parents[2] / "docs/format/key-vectors.json").read_text())
SLOT = {name: bytes.fromhex(value) for name, value in VECTORS["slot"].items()}
VAULT = bytes.fromhex(VECTORS["vault"])


def test_a_pair_follows_from_the_slot_key():
    assert hkdf(SLOT["secret"], SLOT["salt"], b"holdfast/1 slot") == SLOT["slot_key"]
    pair = ClassPrivate.derive(SLOT["slot_key"])
    public = pair.public()
    assert pair.mlkem_seed == SLOT["mlkem_seed"]
    assert hashlib.sha256(public.mlkem).digest() == SLOT["mlkem_public_sha256"]
    assert public.p384 == SLOT["p384_public"]


def test_the_slot_opens_by_both():
    slot = Slot("keyfile", SLOT["salt"], SLOT["wrapped"], bound=SLOT["bound"])
    opened = slots.unwrap(slot, KeyFile(SLOT["secret"]), VAULT)
    assert opened is not None
    assert (opened.root_key, opened.root_public) == (SLOT["root_key"], SLOT["root_public"])
    body = {name: b64(SLOT[name]) for name in ("salt", "wrapped", "bound")}
    assert rescue_keys.open_slot(SLOT["slot_key"], body, VAULT, "key/x") == (SLOT["root_key"], SLOT["root_public"])
    with pytest.raises(Damage):
        rescue_keys.open_slot(SLOT["slot_key"], {**body, "wrapped": b64(SLOT["wrapped"][::-1])}, VAULT, "key/x")


def test_the_shares_make_the_secret_by_both():
    words = VECTORS["shares_2_of_3"]
    assert rescue_shares.combine(words) == SLOT["secret"]
    shape = Slot(
        "shares",
        SLOT["salt"],
        SLOT["wrapped"],
        bound=SLOT["bound"],
        threshold=2,
        shares=tuple(map(digest_of_share, words)),
    )
    opened = slots.unwrap(shape, Shares(tuple(words)), VAULT)
    assert opened is not None
    assert opened.root_key == SLOT["root_key"]

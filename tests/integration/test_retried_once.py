"""A call is repeated at one layer only: however deep a store fails, it is asked as often as its policy says, and then left alone."""

from __future__ import annotations

from collections import Counter

import pytest

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.errors import StoreUnreachableError
from holdfast.reliability.breaker import BreakerPolicy
from holdfast.reliability.retry import POLICIES, RetryPolicy
from holdfast.runs.assembly import Resilience, open_vault
from holdfast.stores import assembly
from holdfast.stores.assembly import locate
from holdfast.stores.layers import HookedStore

ATTEMPTS = POLICIES["store-unreachable"].attempts


@pytest.mark.parametrize(
    ("verb", "prefix"), [("put", "data/"), ("put", "meta/"), ("put_new", "session/"), ("list", "condemn/")]
)
def test_every_call_of_a_backup_is_tried_as_often_as_the_policy_says(place, monkeypatch, verb, prefix):
    place.source.mkdir()
    (place.source / "a").write_bytes(b"x" * 5000)
    place.create().close()
    clock, asked = ManualClock(), Counter()

    def away(called: str, name: str) -> None:
        if called == verb and name.startswith(prefix):
            asked[name] += 1
            raise StoreUnreachableError("away")

    monkeypatch.setattr(assembly, "locate", lambda url, **how: HookedStore(locate(url, **how), away))
    monkeypatch.setattr(HookedStore, "local_root", None)
    with (
        holdfast.Vault.open(place.vault, key_file=place.key, env=clock.environment()) as vault,
        pytest.raises(StoreUnreachableError) as caught,
    ):
        place.backup(vault)
    assert asked, "nothing was injected: the test proves nothing"
    assert max(asked.values()) == ATTEMPTS, asked
    assert caught.value.facts["attempts"] == ATTEMPTS


def test_a_read_of_a_restore_is_tried_as_often_too(place, monkeypatch):
    place.source.mkdir()
    (place.source / "a").write_bytes(b"x" * 5000)
    with place.create() as vault:
        place.backup(vault)
    asked: Counter[str] = Counter()

    def away(called: str, name: str) -> None:
        if called in {"get_range", "get"} and name.startswith("meta/"):
            asked[name] += 1
            raise StoreUnreachableError("away")

    monkeypatch.setattr(assembly, "locate", lambda url, **how: HookedStore(locate(url, **how), away))
    monkeypatch.setattr(HookedStore, "local_root", None)
    with (
        holdfast.Vault.open(place.vault, key_file=place.key, env=ManualClock().environment()) as vault,
        pytest.raises(StoreUnreachableError),
    ):
        vault.snapshot().restore(place.target())
    assert asked
    assert max(asked.values()) == ATTEMPTS, asked


def test_a_dead_store_costs_few_calls_whoever_asks_and_each_store_has_a_breaker_of_its_own(place, monkeypatch):
    place.create().close()
    calls: Counter[str] = Counter()
    dead = [False]

    def away(verb: str, _name: str) -> None:
        calls[verb] += 1
        if dead[0]:
            raise StoreUnreachableError("away")

    monkeypatch.setattr(assembly, "locate", lambda url, **how: HookedStore(locate(url, **how), away))
    clock = ManualClock()
    how = Resilience({"store-unreachable": RetryPolicy(attempts=2)}, BreakerPolicy(failures=6, open_seconds=600.0))
    opened = open_vault(
        place.vault, key_file=place.key, passphrase=None, credential=None, env=clock.environment(), resilience=how
    )
    dead[0] = True
    calls.clear()
    for _ in range(50):
        with pytest.raises(StoreUnreachableError):
            opened.store.size("vault")
    assert calls["size"] == 6, "after that the breaker is open, and nothing reaches the store"
    dead[0] = False
    other = open_vault(
        place.vault, key_file=place.key, passphrase=None, credential=None, env=clock.environment(), resilience=how
    )
    assert other.store.size("vault")
    other.close()
    opened.close()

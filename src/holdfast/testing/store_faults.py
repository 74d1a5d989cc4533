"""The suite of a store's failures: what the network and the service do wrong, every store answers in the same way.

A store's own test gives a layered store that reaches its server through a :class:`~holdfast.testing.proxy.FaultProxy`, and a
`direct` store past it, which sees what really is there::

    class TestMyFaults(StoreFaultSuite):
        @pytest.fixture
        def proxy(self): ...
        @pytest.fixture
        def store(self, proxy): ...
        @pytest.fixture
        def direct(self): ...

Whatever fails: nothing wrong is returned, what was stored before stays, the error says what is safe, and the same call
succeeds afterwards.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import StoreAccessError, StoreClockError, StoreFullError, StoreRefusedError, StoreUnreachableError
from holdfast.testing.proxy import Fault, answer

if TYPE_CHECKING:
    from holdfast.errors import HoldfastError
    from holdfast.stores.protocol import Store
    from holdfast.testing.proxy import FaultProxy

DATA = random.Random(7).randbytes(300_000)
NAME = "data/00/object"
ATTEMPTS = 3
"""How often the suite's store tries; its settings must say the same, with a time-out of a second or two."""


class StoreFaultSuite:
    """Subclass it, or :class:`HttpStoreFaultSuite` for a store behind HTTP."""

    @pytest.fixture(autouse=True)
    def _stored_before(self, direct: Store) -> None:
        """Something is there already, and must be there in the end."""
        direct.put("snapshot/before", b"acknowledged")

    def still_there(self, store: Store, proxy: FaultProxy) -> None:
        """What was stored before is whole, and the store works once the fault is over."""
        proxy.forget()
        assert store.get("snapshot/before") == b"acknowledged"
        store.put(NAME, DATA)
        assert store.get(NAME) == DATA

    @pytest.mark.parametrize("kind", ["reset", "lost"])
    def test_a_put_survives_a_broken_connection(
        self, store: Store, direct: Store, proxy: FaultProxy, kind: str
    ) -> None:
        """Whether the request or only its answer was lost: the object is there once, whole."""
        proxy.plan(Fault(kind))
        store.put(NAME, DATA)
        assert proxy.happened == [kind]
        assert direct.get(NAME) == DATA
        self.still_there(store, proxy)

    @pytest.mark.parametrize("kind", ["reset", "lost"])
    def test_a_creation_survives_a_broken_connection(
        self, store: Store, direct: Store, proxy: FaultProxy, kind: str
    ) -> None:
        """A creation whose answer was lost is read back and known as ours; another's is not."""
        proxy.plan(Fault(kind))
        assert store.put_new("decision/a", b"ours") is True
        assert direct.get("decision/a") == b"ours"
        proxy.plan(Fault(kind))
        assert store.put_new("decision/a", b"theirs") is False
        assert direct.get("decision/a") == b"ours"
        self.still_there(store, proxy)

    def test_an_answer_that_is_cut_is_asked_for_again(self, store: Store, direct: Store, proxy: FaultProxy) -> None:
        """No part of an object passes for the whole."""
        direct.put(NAME, DATA)
        for count in (1, 5_000, 200_000):
            proxy.plan(Fault("cut", count))
            assert store.get(NAME) == DATA
            proxy.plan(Fault("cut", count))
            assert store.get_range(NAME, 1000, 250_000) == DATA[1000:251_000]
        self.still_there(store, proxy)

    def test_a_slow_answer_is_waited_for(self, store: Store, direct: Store, proxy: FaultProxy) -> None:
        """As long as something moves, nothing is given up."""
        direct.put(NAME, DATA)
        proxy.plan(Fault("slow", 3000))
        assert store.get(NAME) == DATA
        self.still_there(store, proxy)

    def test_a_silent_server_is_given_up(self, store: Store, proxy: FaultProxy) -> None:
        """After the time-out, as often as the policy says; then the error that means "later"."""
        proxy.plan(*[Fault("silent")] * ATTEMPTS * 2)
        self.fails(StoreUnreachableError, lambda: store.get("snapshot/before"))
        self.still_there(store, proxy)

    def test_a_server_that_is_down(self, store: Store, direct: Store, proxy: FaultProxy) -> None:
        """Every call says so; what is there stays."""
        proxy.close()
        for call in (
            lambda: store.put(NAME, DATA),
            lambda: store.put_new("decision/a", b"x"),
            lambda: store.get("snapshot/before"),
            lambda: list(store.list("")),
            lambda: store.delete("snapshot/before"),
            lambda: store.size("snapshot/before"),
            store.exists,
        ):
            self.fails(StoreUnreachableError, call)
        assert direct.get("snapshot/before") == b"acknowledged"

    @staticmethod
    def fails(kind: type[HoldfastError], call: object) -> None:
        """A call fails with just this error, in three lines."""
        assert callable(call)
        with pytest.raises(kind) as caught:
            call()
        assert type(caught.value) is kind
        lines = str(caught.value).splitlines()
        assert len(lines) == 3
        assert lines[1].startswith("SAFE: ")
        assert lines[2].startswith("NEXT: ")


class HttpStoreFaultSuite(StoreFaultSuite):
    """The suite of stores behind HTTP: also what their services answer."""

    def test_a_busy_service_is_asked_again(self, store: Store, direct: Store, proxy: FaultProxy) -> None:
        """503 and 429 pass."""
        for status, code in ((503, "SlowDown"), (500, "InternalError"), (429, "")):
            proxy.plan(answer(status, code))
            store.put(f"data/00/after-{status}", DATA)
            assert direct.get(f"data/00/after-{status}") == DATA
        self.still_there(store, proxy)

    @pytest.mark.parametrize(
        ("status", "code", "error"),
        [
            (403, "AccessDenied", StoreRefusedError),
            (403, "", StoreRefusedError),
            (403, "ExpiredToken", StoreAccessError),
            (403, "InvalidAccessKeyId", StoreAccessError),
            (401, "", StoreAccessError),
            (403, "RequestTimeTooSkewed", StoreClockError),
            (507, "", StoreFullError),
            (403, "QuotaExceeded", StoreFullError),
        ],
    )
    def test_a_refusal_is_final_and_says_why(
        self, store: Store, proxy: FaultProxy, status: int, code: str, error: type[HoldfastError]
    ) -> None:
        """Permission lost, credential expired, clock wrong, no space: one attempt, one error, nothing lost."""
        proxy.plan(*[answer(status, code)] * (ATTEMPTS + 4))
        self.fails(error, lambda: store.put_new("index/a", b"x"))
        self.fails(error, lambda: list(store.list("")))
        self.still_there(store, proxy)

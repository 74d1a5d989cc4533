"""The suite that every store passes: it proves, method by method, what `stores.protocol` promises.

A store's own test is a few lines::

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(...)

        def reopen(self, store):
            return MyStore(...)   # what another process would see
"""

from __future__ import annotations

import hashlib
import random
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from holdfast.base import environment
from holdfast.errors import CapabilityError, InternalError, ObjectMissingError, StoreRetainedError
from holdfast.stores.protocol import Capability, ObjectInfo, Readiness, Store

if TYPE_CHECKING:
    from collections.abc import Callable

BAD_NAMES = (
    "",
    "/vault",
    "vault/",
    "a//b",
    "../vault",
    "a/../b",
    ".hidden",
    "a/.hidden",
    "Upper",
    "sp ace",
    "new\nline",
    "nul\0",
    "ümlaut",
    "a" * 256,
)


class StoreSuite:
    """Subclass it in a test module and give the `store` fixture: a created, empty store."""

    def reopen(self, store: Store) -> Store:
        """Return the store as another process would open it; override where that is more than the same object."""
        return store

    def test_is_a_store(self, store: Store) -> None:
        """It has every method, and says where it is without a secret."""
        assert isinstance(store, Store)
        assert store.url
        assert store.exists()

    def test_room_is_told_or_not_and_never_made_up(self, store: Store) -> None:
        """A service that tells the room says what can be true; one that does not says None."""
        room = store.room()
        assert room is None or 0 <= room.free_bytes <= room.total_bytes

    def test_what_was_put_comes_back(self, store: Store) -> None:
        """Bytes of every size return as they were, here and elsewhere."""
        for size in (0, 1, 4095, 4096, 4097, 1 << 20):
            data = random.Random(size).randbytes(size)
            name = f"data/00/{hashlib.sha256(data).hexdigest()}"
            store.put(name, data)
            assert store.get(name) == data
            assert store.size(name) == size
            assert self.reopen(store).get(name) == data

    def test_takes_any_buffer(self, store: Store) -> None:
        """A view or a bytearray is stored like bytes."""
        store.put("index/a", memoryview(b"xviewx")[1:5])
        assert store.put_new("index/b", bytearray(b"array"))
        assert store.get("index/a") == b"view"
        assert store.get("index/b") == b"array"

    def test_put_again_changes_nothing(self, store: Store) -> None:
        """The same bytes again are fine; other bytes are refused and the old ones stay."""
        store.put("state/a", b"one")
        store.put("state/a", b"one")
        with pytest.raises(InternalError):
            store.put("state/a", b"two")
        with pytest.raises(InternalError):
            store.put("state/a", b"longer than before")
        assert store.get("state/a") == b"one"

    def test_create_only_if_absent(self, store: Store) -> None:
        """The second creation is refused, whatever its bytes, and the first stays."""
        assert store.put_new("decision/a/00000000", b"commit") is True
        assert store.put_new("decision/a/00000000", b"revoked") is False
        assert store.put_new("decision/a/00000000", b"commit") is False
        assert store.get("decision/a/00000000") == b"commit"

    def test_a_race_has_one_winner(self, store: Store) -> None:
        """Of eight racing creations one wins, and every loser reads the winner's bytes at once."""
        for turn in range(20):
            name = f"decision/{turn:032x}/00000000"
            outcome = self._race(store, name, 8)
            winners = [mine for mine, won, _ in outcome if won]
            assert len(winners) == 1
            assert {seen for _, _, seen in outcome} == {winners[0]}

    @staticmethod
    def _race(store: Store, name: str, racers: int) -> list[tuple[bytes, bool, bytes]]:
        gate = threading.Barrier(racers)
        outcome: list[tuple[bytes, bool, bytes]] = []

        def run(number: int) -> None:
            mine = f"racer {number}".encode() * 100
            gate.wait()
            won = store.put_new(name, mine)
            outcome.append((mine, won, store.get(name)))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(racers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(outcome) == racers
        return outcome

    def test_missing_is_said(self, store: Store) -> None:
        """Getting what is not there is an error of its own; its size is None; deleting it is fine."""
        with pytest.raises(ObjectMissingError):
            store.get("data/00/none")
        with pytest.raises(ObjectMissingError):
            store.get_range("data/00/none", 0, 10)
        assert store.size("data/00/none") is None
        store.delete("data/00/none")

    def test_a_folder_is_no_object(self, store: Store) -> None:
        """The first component of a name is not itself an object."""
        store.put("data/00/a", b"x")
        assert store.size("data/00") is None
        assert [row.name for row in store.list("data/00")] == ["data/00/a"]

    def test_ranges(self, store: Store) -> None:
        """A range is exact, ends with the object, and -1 means to the end."""
        data = bytes(range(256)) * 40
        store.put("data/00/r", data)
        for offset, length in ((0, 10), (5, 0), (100, 5000), (10_230, 10), (10_235, 100), (10_240, 5), (20_000, 5)):
            assert store.get_range("data/00/r", offset, length) == data[offset : offset + length]
        assert store.get_range("data/00/r", 10_000, -1) == data[10_000:]
        assert store.get_range("data/00/r", 0, -1) == data

    def test_lists_in_order(self, store: Store) -> None:
        """A listing is sorted by name as bytes, complete, and limited to its prefix."""
        names = [
            "vault",
            "key/a",
            "key/b",
            "key-x/a",
            "data/00/a",
            "data/0a/a",
            "data/0-/a",
            "data/00.5",
            "data/00-b/c",
        ]
        for name in names:
            store.put(name, name.encode())
        everything = [ObjectInfo(name, len(name)) for name in sorted(names)]
        assert list(store.list("")) == everything
        for prefix in (
            "data/",
            "data/0",
            "data/00",
            "data/00/",
            "key",
            "key/",
            "vault",
            "none/",
            "data/00/a",
            "data/00/ab",
        ):
            assert list(store.list(prefix)) == [row for row in everything if row.name.startswith(prefix)], prefix

    def test_a_listing_shows_what_was_put_before(self, store: Store) -> None:
        """An acknowledged put is listed by whoever asks afterwards."""
        for number in range(50):
            store.put_new(f"session/{number:032x}", b"s")
            assert len(list(self.reopen(store).list("session/"))) == number + 1

    def test_deleted_is_gone(self, store: Store) -> None:
        """A deleted object is neither read nor listed, and its name is free again."""
        store.put("snapshot/a", b"x")
        store.delete("snapshot/a")
        assert store.size("snapshot/a") is None
        assert list(store.list("snapshot/")) == []
        assert store.put_new("snapshot/a", b"y")
        assert store.get("snapshot/a") == b"y"

    def test_refuses_other_names(self, store: Store) -> None:
        """No call takes a name outside the alphabet, least of all one that climbs out of the store."""
        calls: tuple[Callable[[str], object], ...] = (
            lambda name: store.put(name, b"x"),
            lambda name: store.put_new(name, b"x"),
            store.get,
            lambda name: store.get_range(name, 0, 1),
            store.delete,
            store.size,
        )
        for name in BAD_NAMES:
            for call in calls:
                with pytest.raises(InternalError):
                    call(name)
        for prefix in ("..", "../", "a//", "/", "Upper"):
            with pytest.raises(InternalError):
                list(store.list(prefix))

    def test_what_is_not_claimed_is_refused(self, store: Store) -> None:
        """A method of a capability that is not claimed raises, and changes nothing."""
        store.put("data/00/plain", b"x")
        calls: dict[Capability, tuple[Callable[[], object], ...]] = {
            Capability.CREATE_IF_ABSENT: (lambda: store.put_new("probe/a", b"x"),),
            Capability.RETAIN_UNTIL: (
                lambda: store.retain_until("data/00/plain", environment.system().now()),
                lambda: store.retained_until("data/00/plain"),
            ),
            Capability.STORAGE_CLASS: (
                lambda: store.storage_state("data/00/plain"),
                lambda: store.thaw("data/00/plain", 1),
            ),
        }
        assert store.capabilities <= frozenset(Capability)
        for capability in frozenset(Capability) - store.capabilities:
            for call in calls[capability]:
                with pytest.raises(CapabilityError):
                    call()
        assert store.get("data/00/plain") == b"x"

    def test_what_is_retained_stays(self, store: Store) -> None:
        """A retained object cannot be deleted, says until when, and is never retained for less."""
        store.put("data/00/kept", b"kept")
        if Capability.RETAIN_UNTIL not in store.capabilities:
            with pytest.raises(CapabilityError):
                store.retained_until("data/00/kept")
            return
        assert store.retained_until("data/00/kept") is None
        long = environment.system().now() + timedelta(days=2)
        store.retain_until("data/00/kept", long)
        store.retain_until("data/00/kept", long - timedelta(days=1))
        until = self.reopen(store).retained_until("data/00/kept")
        assert until is not None
        assert long <= until <= long + timedelta(minutes=1)
        with pytest.raises(StoreRetainedError):
            store.delete("data/00/kept")
        assert self.reopen(store).get("data/00/kept") == b"kept"
        longer = long + timedelta(days=1)
        store.retain_until("data/00/kept", longer)
        later = store.retained_until("data/00/kept")
        assert later is not None
        assert later >= longer
        with pytest.raises(ValueError, match="zone"):
            store.retain_until("data/00/kept", longer.replace(tzinfo=None))
        with pytest.raises(ObjectMissingError):
            store.retain_until("data/00/none", long)
        with pytest.raises(ObjectMissingError):
            store.retained_until("data/00/none")

    def test_where_an_object_is_kept_is_said(self, store: Store) -> None:
        """A fresh object has a class and can be read; asking for it again is fine; a missing one is said."""
        store.put("index/a", b"x")
        if Capability.STORAGE_CLASS not in store.capabilities:
            with pytest.raises(CapabilityError):
                store.storage_state("index/a")
            return
        state = store.storage_state("index/a")
        assert state.storage_class
        assert state.readiness is Readiness.READY
        store.thaw("index/a", 1)
        assert store.get("index/a") == b"x"
        with pytest.raises(ObjectMissingError):
            store.storage_state("data/00/none")

    def test_many_threads(self, store: Store) -> None:
        """Puts, gets and listings from several threads do not disturb each other."""
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                for turn in range(20):
                    name = f"data/{number:02x}/{turn:064x}"
                    store.put(name, name.encode() * 50)
                    assert store.get(name) == name.encode() * 50
                    assert len(list(store.list(f"data/{number:02x}/"))) == turn + 1
            except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []

"""What is particular to one store or layer: permissions, errors by errno, crashes half way, retries, lost answers."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from holdfast.base.environment import ManualClock
from holdfast.errors import (
    InternalError,
    ObjectMissingError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
    UsageError,
)
from holdfast.reliability.breaker import Breaker
from holdfast.reliability.retry import RetryPolicy
from holdfast.stores.assembly import layered, locate
from holdfast.stores.layers import CountingStore, HookedStore, RetryingStore, VerifyingStore
from holdfast.stores.local import LocalStore, put_file
from holdfast.stores.memory import MemoryStore


@pytest.fixture
def local(tmp_path):
    store = LocalStore(str(tmp_path / "vault"))
    store.create()
    return store


def failing(code, times=1, real=put_file):
    """A writer that fails the first so many times."""
    left = [times]

    def write(path, data):
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code), path)
        real(path, data)

    return write


class TestLocal:
    def test_only_the_owner_reads(self, local, tmp_path):
        local.put("data/00/a", b"x")
        assert stat.S_IMODE((tmp_path / "vault").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "vault/data").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "vault/data/00/a").stat().st_mode) == 0o600

    @pytest.mark.parametrize(
        ("code", "error"),
        [
            (errno.ENOSPC, StoreFullError),
            (errno.EDQUOT, StoreFullError),
            (errno.EACCES, StoreRefusedError),
            (errno.EPERM, StoreRefusedError),
            (errno.EROFS, StoreRefusedError),
            (errno.EIO, StoreUnreachableError),
            (errno.ESTALE, StoreUnreachableError),
        ],
    )
    def test_errno_decides_the_error(self, tmp_path, code, error):
        store = LocalStore(str(tmp_path), write=failing(code))
        with pytest.raises(error) as caught:
            store.put("vault", b"x")
        assert caught.value.facts["errno"] == code
        assert str(tmp_path) not in str(caught.value)
        assert store.size("vault") is None
        store.put("vault", b"x")
        assert store.get("vault") == b"x"

    def test_a_missing_root_is_unreachable_and_never_made(self, tmp_path):
        store = LocalStore(str(tmp_path / "gone"))
        assert not store.exists()
        for call in (
            lambda: store.put("vault", b"x"),
            lambda: store.put_new("key/a", b"x"),
            lambda: store.get("vault"),
            lambda: store.size("vault"),
            lambda: list(store.list("")),
        ):
            with pytest.raises(StoreUnreachableError):
                call()
        assert not (tmp_path / "gone").exists()

    def test_unfinished_files_are_not_listed(self, local, tmp_path):
        local.put("data/00/a", b"x")
        (tmp_path / "vault/data/00/.put-1-2").write_bytes(b"half")
        assert [row.name for row in local.list("")] == ["data/00/a"]

    def test_a_failed_write_leaves_no_temporary_file(self, tmp_path, monkeypatch):
        def no_sync(_fd):
            raise OSError(errno.EIO, "flush")

        monkeypatch.setattr(os, "fsync", no_sync)
        with pytest.raises(OSError, match="flush"):
            put_file(str(tmp_path / "a"), b"x")
        assert list(tmp_path.iterdir()) == []

    def test_another_process_made_the_object_meanwhile(self, tmp_path):
        def write(path, data):
            if not os.path.isdir(os.path.dirname(path)):
                raise FileNotFoundError(errno.ENOENT, "no folder")
            put_file(path, b"theirs")
            put_file(path, data)

        store = LocalStore(str(tmp_path), write=write)
        assert store.put_new("decision/a/00000000", b"ours") is False
        assert store.get("decision/a/00000000") == b"theirs"

    def test_what_exists_is_made_durable_before_it_is_relied_on(self, tmp_path, monkeypatch):
        """The first attempt failed after the object had its name: the second must not take it for durable as it is."""
        flushed = []
        monkeypatch.setattr(
            "holdfast.stores.local.os.fsync", lambda fd: flushed.append(os.readlink(f"/proc/self/fd/{fd}"))
        )

        def write(path, data):
            put_file(path, data)
            raise OSError(errno.EIO, "the folder could not be flushed")

        folder = tmp_path / "index"
        folder.mkdir()
        with pytest.raises(StoreUnreachableError):
            LocalStore(str(tmp_path), write=write).put("index/" + "0" * 64, b"run")
        flushed.clear()
        LocalStore(str(tmp_path)).put("index/" + "0" * 64, b"run")
        assert {str(folder), str(folder / ("0" * 64))} <= set(flushed)

    def test_a_read_that_comes_short_goes_on(self, local, monkeypatch):
        local.put("data/00/a", bytes(range(100)))
        real = os.pread
        monkeypatch.setattr(os, "pread", lambda fd, length, offset: real(fd, min(length, 7), offset))
        assert local.get("data/00/a") == bytes(range(100))

    def test_a_read_of_a_shrunk_file_ends(self, local, monkeypatch):
        local.put("data/00/a", bytes(100))
        real = os.pread
        monkeypatch.setattr(
            os, "pread", lambda fd, length, offset: real(fd, min(length, 60), offset) if not offset else b""
        )
        assert len(local.get("data/00/a")) == 60


class TestLocate:
    def test_forms(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert locate("vault").url == str(tmp_path / "vault")
        assert locate("file:///srv/my%20vault").url == "/srv/my vault"
        assert locate("file://localhost/srv/v").local_root == "/srv/v"
        assert locate("memory:one") is locate("memory:one")
        assert locate("memory:one").url == "memory:one"
        assert locate("memory:one").local_root is None

    @pytest.mark.parametrize("url", ["", "s3://bucket", "file://host/x", "file:relative", "file:///a?b=c"])
    def test_refused(self, url):
        with pytest.raises(UsageError):
            locate(url)


class TestRetry:
    def test_tries_again_with_growing_pauses(self):
        clock = ManualClock()
        calls = []

        def before(verb, name):
            calls.append((verb, name))
            if len(calls) < 4:
                raise StoreUnreachableError("away")

        store = RetryingStore(HookedStore(MemoryStore(), before), clock.environment(), RetryPolicy(attempts=5))
        store.put("vault", b"x")
        assert calls == [("put", "vault")] * 4
        for number, pause in enumerate(clock.slept):
            assert 0.25 * 2**number <= pause <= 0.5 * 2**number

    @pytest.mark.parametrize("error", [StoreFullError, StoreRefusedError, ObjectMissingError])
    def test_what_is_final_is_not_tried_again(self, error):
        clock = ManualClock()

        def before(_verb, _name):
            raise error("no")

        store = RetryingStore(HookedStore(MemoryStore(), before), clock.environment())
        with pytest.raises(error):
            store.get("vault")
        assert clock.slept == []

    def test_gives_up_and_says_so(self):
        clock = ManualClock()

        def before(_verb, _name):
            raise StoreUnreachableError("away")

        store = RetryingStore(
            HookedStore(MemoryStore(), before), clock.environment(), {"store-unreachable": RetryPolicy(attempts=3)}
        )
        for call in (
            lambda: store.get_range("vault", 0, 1),
            lambda: list(store.list("")),
            lambda: store.size("vault"),
            lambda: store.delete("vault"),
        ):
            clock.slept.clear()
            with pytest.raises(StoreUnreachableError):
                call()
            assert len(clock.slept) == 2
            store.breaker = Breaker(clock.environment())

    def test_a_lost_answer_of_a_creation_is_resolved_by_reading(self):
        lost = [True]

        def after(verb, _name):
            if verb == "put_new" and lost.pop() if lost else False:
                raise StoreUnreachableError("answer lost")

        inner = MemoryStore()
        store = RetryingStore(HookedStore(inner, after=after), ManualClock().environment())
        assert store.put_new("decision/a/00000000", b"ours") is True
        assert store.put_new("decision/a/00000000", b"theirs") is False
        assert inner.objects == {"decision/a/00000000": b"ours"}

    def test_pauses_are_capped(self):
        policy = RetryPolicy(first_seconds=1, longest_seconds=8)
        assert [policy.wait(n, 1.0) for n in range(1, 7)] == [1, 2, 4, 8, 8, 8]
        assert policy.wait(1, 0.0) == 0.5


class TestVerify:
    @pytest.mark.parametrize("size", [10, (1 << 20) + 1])
    def test_a_store_that_keeps_something_else_is_found_out(self, size):
        class Lossy(MemoryStore):
            def put_new(self, name, data):
                return super().put_new(name, bytes(data)[:-1])

            def put(self, name, data):
                self.put_new(name, data)

        with pytest.raises(StoreUnreachableError):
            VerifyingStore(Lossy()).put("data/00/a", bytes(size))
        with pytest.raises(StoreUnreachableError):
            VerifyingStore(Lossy()).put_new("data/00/a", bytes(size))


class TestCount:
    def test_counts_what_was_stored_and_read(self):
        store = CountingStore(MemoryStore())
        store.put("vault", bytes(10))
        assert store.put_new("key/a", bytes(5))
        assert not store.put_new("key/a", bytes(5))
        store.get("vault")
        store.get_range("vault", 0, 3)
        counts = store.counts()
        assert (counts.objects_put, counts.bytes_put, counts.bytes_got) == (2, 15, 13)

    def test_layers_hand_everything_on(self, tmp_path):
        store = layered(LocalStore(str(tmp_path / "v")), ManualClock().environment())
        assert store.url == store.local_root == str(tmp_path / "v")
        assert not store.exists()
        store.create()
        store.put("vault", b"x")
        store.delete("vault")
        store.close()
        assert list(store.list("")) == []


def test_other_bytes_under_a_name_are_refused():
    store = MemoryStore()
    store.put("vault", b"one")
    with pytest.raises(InternalError):
        store.put("vault", b"two")

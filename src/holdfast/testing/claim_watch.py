"""Watches what a vault's operations say when they fail, and holds it against what is there before and after.

Every public operation of a vault is looked at while :func:`watching` is in force: the objects of its home and the target of a
restore before and after, if it ends with one of Holdfast's errors. What cannot be seen is not judged: a store that is neither a
folder nor in memory, or another operation at the same time.
"""

from __future__ import annotations

import functools
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import holdfast
from holdfast.errors import HoldfastError
from holdfast.runs.snapshot import Snapshot
from holdfast.stores.layers import Wrapper
from holdfast.stores.memory import MemoryStore
from holdfast.testing.claims import State, Tally

__all__ = ["objects_in", "watching"]

_OPENING = {"open", "create"}
_NOT_LOOKED_AT = {"close"}
ENTRIES_MAX = 20_000
"""What holds more is not looked at: the watch must cost less than what it watches."""


class _Watch:
    """Which operation is watched now: the outermost, if no other runs."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._lock = threading.Lock()
        self._running = 0
        self._crowded = False
        self._inside = threading.local()

    def around(self, call: Callable[..., Any], owner: object, given: tuple[Any, ...], named: dict[str, Any]) -> Any:  # noqa: ANN401 - as the operation
        """Do an operation; if it fails by itself, judge what it says."""
        if getattr(self._inside, "it", False):
            return call(*given, **named)
        with self._lock:
            self._running += 1
            self._crowded = self._running > 1
        self._inside.it = True
        try:
            look = _look_of(owner, given, named)
            before = look()
            try:
                return call(*given, **named)
            except HoldfastError as error:
                after = look() if before is not None else None
                if before is not None and after is not None and not self._crowded:
                    self.tally.take(error, before, after)
                raise
        finally:
            self._inside.it = False
            with self._lock:
                self._running -= 1


def _look_of(owner: object, given: tuple[Any, ...], named: dict[str, Any]) -> Callable[[], State | None]:
    """Return what looks at an operation's vault and target."""
    opened = getattr(owner, "_vault", None)
    place = getattr(opened, "store", None)
    if isinstance(owner, type):
        place = given[0] if given else named.get("url")
    target = named.get("to", given[1] if len(given) > 1 and isinstance(owner, Snapshot) else None)

    def look() -> State | None:
        objects = objects_in(place)
        if objects is None:
            return None
        return State(objects, _folder(target) if isinstance(target, str | os.PathLike) else None)

    return look


def objects_in(place: object) -> dict[str, object] | None:
    """Return what lies on a store, given as one or by the path of its folder; None if that cannot be seen."""
    while isinstance(place, Wrapper):
        place = place.inner
    if isinstance(place, MemoryStore):
        return {f"home/{name}": data for name, data in place.objects.items()}
    root = place if isinstance(place, str | os.PathLike) else getattr(place, "local_root", None)
    if root is None or ":" in os.fspath(root):
        return None
    found = _folder(root)
    return None if found is None else {f"home/{name}": token for name, token in found.items()}


def _folder(root: str | os.PathLike[str]) -> dict[str, object] | None:
    """Return what lies in a folder: size, time and inode of each file; None if that is too much."""
    found: dict[str, object] = {}
    top = os.fsencode(root)
    for folder, _, files in os.walk(top):
        for name in files:
            path = os.path.join(folder, name)
            try:
                stat = os.lstat(path)
            except FileNotFoundError:
                continue
            found[os.fsdecode(os.path.relpath(path, top))] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
        if len(found) > ENTRIES_MAX:
            return None
    return found


def _operations(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public operations of a class: methods that do their work when they are called."""
    for name in dir(kind):
        member = inspect.getattr_static(kind, name)
        function = member.__func__ if isinstance(member, classmethod) else member
        if name.startswith("_") or name in _NOT_LOOKED_AT or not inspect.isfunction(function):
            continue
        if not inspect.isgeneratorfunction(function) and (not isinstance(member, classmethod) or name in _OPENING):
            yield name, member


def _wrapped(watch: _Watch, member: Any) -> Any:  # noqa: ANN401 - a function or a class method
    if isinstance(member, classmethod):
        function = member.__func__

        @functools.wraps(function)
        def opening(cls: type, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - as the operation
            return watch.around(functools.partial(function, cls), cls, given, named)

        return classmethod(opening)

    @functools.wraps(member)
    def operation(self: object, *given: Any, **named: Any) -> Any:  # noqa: ANN401 - as the operation
        return watch.around(member, self, (self, *given), named)

    return operation


@contextmanager
def watching(tally: Tally) -> Iterator[None]:
    """Watch every operation on vaults and snapshots in this process, and count in `tally` what errors say."""
    watch = _Watch(tally)
    with ExitStack() as stack:
        for kind in (holdfast.Vault, Snapshot):
            for name, member in _operations(kind):
                stack.enter_context(patch.object(kind, name, _wrapped(watch, member)))
        yield

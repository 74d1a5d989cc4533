"""The alert book and desk of this host, where the local state is."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from holdfast.base import environment
from holdfast.reliability.alerts.book import AlertBook
from holdfast.runs.assembly import state_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.base.environment import Environment
    from holdfast.config import Settings
    from holdfast.reliability.alerts.desk import AlertDesk

__all__ = ["book_path", "open_book", "open_desk"]


def book_path() -> str:
    """Return where this host's alert book lies."""
    return os.fspath(state_root() / "alerts.sqlite")


@contextmanager
def open_book(env: Environment | None = None) -> Iterator[AlertBook]:
    """Open this host's alert book, making it if there is none. `LocalStateError`."""
    with closing(AlertBook(book_path(), env or environment.system())) as book:
        yield book


@contextmanager
def open_desk(settings: Settings, env: Environment | None = None) -> Iterator[AlertDesk]:
    """Open this host's alert book with the configured people and channels. `LocalStateError`."""
    from holdfast.reliability.alerts.configured import make_desk

    desk = make_desk(settings, book_path(), env or environment.system(), os.environ)
    with closing(desk.book):
        yield desk

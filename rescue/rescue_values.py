"""What a vault is read as: snapshots, their parts, packs."""

from __future__ import annotations

from typing import NamedTuple

import rescue_format as f
import rescue_keys as k


class Part(NamedTuple):
    """The opened sealed part of one class of a snapshot."""

    class_id: int
    class_name: str
    keys: k.ClassKeys
    body: f.Body

    @property
    def rank(self) -> tuple[int, int]:
        """Lowest first: the class whose entries count where classes overlap."""
        known = f.CLASS_RANK.index(self.class_name) if self.class_name in f.CLASS_RANK else len(f.CLASS_RANK)
        return known, self.class_id


class Snapshot(NamedTuple):
    """A snapshot: its envelope (empty if unreadable), its parts, and what is wrong with either."""

    id: str
    status: str
    envelope: f.Body
    parts: list[Part]
    problems: list[str]


class Pack(NamedTuple):
    """An open pack: its header and the directory of its segments."""

    name: str
    path: str
    header: f.PackHeader
    segments: dict[tuple[bytes, int], f.Segment]

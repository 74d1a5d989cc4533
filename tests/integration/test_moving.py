"""Files that change, shrink, grow or vanish while they are read: each a finding, the run partial, the rest whole.

The run is held back by its read limit until it has read something; then the file is touched and the limit lifted.
"""

from __future__ import annotations

import os
import random

import pytest
from tests.rounds import assert_same

from holdfast.base.events import Progress
from holdfast.runs.options import BackupOptions, Limits

MIB = 1 << 20


@pytest.fixture
def moving(place):
    """A source of a few large files; returns a function that backs up and does something once reading has begun."""
    vault = place.create()
    dice = random.Random(4)
    for name in ("a-first", "b-second", "y-last", "z-later"):
        (place.source / name).write_bytes(dice.randbytes(6 * MIB))
    options = BackupOptions(limits=Limits(read_bytes_per_s=6 * MIB), workers=1)

    def run(act):
        done = []

        def on_event(event):
            if isinstance(event, Progress) and not done and event.bytes > 0:
                act()
                vault._vault.limits.read_bytes_per_s = None
                done.append(event)

        result = vault.backup([place.source], label="rounds", options=options, events=on_event)
        assert done, "the run ended before anything could be changed"
        return result

    yield place, vault, run
    vault.close()


def rewrite(path):
    with path.open("r+b") as file:
        file.write(b"changed while it was read")


def append(path):
    with path.open("ab") as file:
        file.write(b"more")


ACTS = {
    "shrinks": lambda path: os.truncate(path, 100),
    "grows": append,
    "changes": rewrite,
    "vanishes": lambda path: path.unlink(),
    "becomes a folder": lambda path: (path.unlink(), path.mkdir()),
    "becomes a symlink": lambda path: (path.unlink(), path.symlink_to("a-first")),
}


@pytest.mark.parametrize("what", list(ACTS))
def test_a_file_that_moves_under_the_run(moving, what):
    place, vault, run = moving

    def act():
        for name in ("b-second", "y-last", "z-later"):
            ACTS[what](place.source / name)

    result = run(act)
    restored = place.by_engine(vault, "latest")
    truth = place.truth()
    told = {finding.path.rpartition(b"/")[2] for finding in result.findings}
    for name in (b"a-first", b"b-second", b"y-last", b"z-later"):
        if name not in told and name in restored:
            same = restored[name].digest == truth[name].digest if name in truth else False
            earlier = restored[name].size == 6 * MIB
            assert same or earlier, f"{name!r} is stored torn and nobody says so"
    assert result.partial == bool(result.findings)
    again = place.backup(vault)
    assert not again.partial
    assert_same(place.truth(), place.by_engine(vault, "latest"), "the next run")

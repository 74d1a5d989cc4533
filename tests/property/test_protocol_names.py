"""The model's actions are the code's: each name is a function of the code, and the code takes them in the model's order.

What the code does is read off its operations on the store: `begin` puts `session/`, `read_condemned` lists `condemn/`, and so on.
"""

from __future__ import annotations

import re
from collections import deque
from datetime import timedelta

import pytest
from tests.property.test_protocol_model import Model, Pruner, Round, State, Writer

from holdfast.base.environment import ManualClock
from holdfast.repository import forget, indexes, marking, prune, session
from holdfast.repository.credentials import KeyFile
from holdfast.repository.repository import Repository
from holdfast.stores.memory import MemoryStore
from holdfast.testing.fake_engine import FakeEngine
from holdfast.testing.faults import FaultStore
from holdfast.testing.hosts import FakeHost, at_its_word

CODE = {
    "begin": session.Session.begin,
    "read_condemned": session.Session._read_condemned,
    "read_index": indexes.Indexes.read,
    "put_pack": session.Session.put_pack,
    "put_run": session.Session._put_run,
    "checkpoint": session.Session.checkpoint,
    "commit": session.Session.commit,
    "forget": forget.forget,
    "mark": marking.mark,
    "repack": prune._copy,
    "condemn": prune._condemn,
    "decide": prune._decide_all,
    "mark_again": prune._mark_again,
    "plan": prune.plan,
    "apply_index": prune._apply,
    "apply_packs": prune._apply,
    "close": prune._close,
}
"""Where the code takes each action of the model."""
CHOICES = {"refer to what is stored", "store anew", "take over", "nothing to condemn"}
"""Steps of the model that touch no store: a writer's choice, and who goes on with a round."""
WRITER = (
    ("begin", r"put_new session/"),
    ("read_condemned", r"list condemn/"),
    ("read_index", r"list index/"),
    ("put_pack", r"put data/"),
    ("put_run", r"put index/"),
    ("checkpoint", r"put_new checkpoint/"),
    ("commit", r"put_new decision/"),
)
PRUNER = (
    ("mark", r"get refs/"),
    ("repack", r"put data/"),
    ("condemn", r"put_new condemn/"),
    ("decide", r"list session/"),
    ("mark_again", r"get refs/"),
    ("plan", r"put_new plan/"),
    ("apply_index", r"delete index/"),
    ("apply_packs", r"delete data/"),
    ("close", r"put_new closed/"),
)


def actions_of_the_model() -> set[str]:
    model = Model()
    first = State(writers=(Writer(),), pruners=(Pruner(),), rounds=(Round(),))
    seen, queue, names = {first}, deque([first]), set()
    while queue:
        for name, state in model.steps(queue.popleft()):
            names.add(re.sub(r"^(writer|pruner) \d+: |: revoke \d+$", "", name).removesuffix(": revoke 0"))
            if state not in seen:
                seen.add(state)
                queue.append(state)
    return names


def test_every_action_is_in_the_code():
    assert CODE.keys() <= actions_of_the_model() <= CODE.keys() | CHOICES
    for name, code in CODE.items():
        assert callable(code), name
    assert {name for name, _ in (*WRITER, *PRUNER)} == CODE.keys() - {"forget"}


def in_order(log: list[str], wanted: tuple[tuple[str, str], ...]) -> list[str]:
    """Return the actions that a log takes, each looked for after the one before; at the first that lacks, it ends."""
    at, found = 0, []
    for name, pattern in wanted:
        here = next((n for n in range(at, len(log)) if re.match(pattern, log[n])), None)
        if here is None:
            break
        at = here + 1
        found.append(name)
    return found


@pytest.fixture
def host(tmp_path):
    clock = ManualClock()
    env = clock.environment()
    store = FaultStore(MemoryStore())
    repository = Repository.create(store, env, secrets=[KeyFile.new(env)])
    return FakeHost(repository, tmp_path / "cache", "ab" * 16)


def test_a_writer_takes_them_in_the_model_s_order(host):
    store = host.repository.store
    host.backup({"a": 1})
    store.log.clear()
    host.backup({"a": 1, "b": 1})
    assert in_order(store.log, WRITER) == [name for name, _ in WRITER]
    first = {name: next(n for n, row in enumerate(store.log) if re.match(pattern, row)) for name, pattern in WRITER}
    assert first["begin"] < first["read_condemned"] < first["read_index"] < first["put_pack"] < first["put_run"]
    last_pack = max(n for n, row in enumerate(store.log) if row.startswith("put data/"))
    assert last_pack < first["put_run"], "packs before runs"


def test_a_pruner_takes_them_in_the_model_s_order(host):
    store = host.repository.store
    first = host.backup({f"f{n}": 1 for n in range(8)})
    host.backup({"f0": 1, "f4": 1})
    forget.forget(host.repository, first.id, reason="a test")
    store.log.clear()
    options = prune.PruneOptions(unsafe_undo_delay=timedelta(0), patience=timedelta(0), compare=at_its_word)
    assert prune.prune(host.repository, options, FakeEngine()).phase == "closed"
    assert in_order(store.log, PRUNER) == [name for name, _ in PRUNER]
    drops = [row.split()[1].partition("/")[0] for row in store.log if row.startswith(("delete index/", "delete data/"))]
    assert drops == sorted(drops, reverse=True), "the index before the packs"

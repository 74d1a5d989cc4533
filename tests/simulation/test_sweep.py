"""Every command that writes dies at operations on its stores, in five ways; HOLDFAST_SWEEP=1 strikes every operation.

By default a few operations of each command are struck in two ways, others with each HOLDFAST_SEED. What is judged:
`holdfast.testing.sweep`. An operation of the library or of the command line that the sweep does not know of fails here.
"""

from __future__ import annotations

import inspect
import os
import random

import click
import pytest

import holdfast
from holdfast.cli.commands import COMMANDS as CLI
from holdfast.cli.commands import HoldfastGroup
from holdfast.errors import DamageError, StoreFullError, StoreUnreachableError, UsageError
from holdfast.runs.access import Approvals
from holdfast.runs.audit import AuditTrail
from holdfast.runs.courier import Courier
from holdfast.runs.snapshot import Snapshot
from holdfast.testing.claims import row_of
from holdfast.testing.sweep import COMMANDS, WAYS, Command, run, sweep, ways_of
from holdfast.testing.sweep import __main__ as command_line
from holdfast.testing.sweep.ground import ground
from holdfast.testing.sweep.run import SweptError
from holdfast.testing.sweep.strike import Strike
from holdfast.testing.sweep.surface import COMMAND_LINE, OPERATIONS

EVERY = os.environ.get("HOLDFAST_SWEEP", "")
SEED = int(os.environ.get("HOLDFAST_SEED", "1"))
STRIKES = 2


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_that_is_struck_loses_nothing_and_says_nothing_untrue(command):
    dice = random.Random(f"{SEED} {command.name}")
    ways = WAYS if EVERY else dice.sample(ways_of(command), 2)
    some = None if EVERY else STRIKES
    report = sweep(command, ways=ways, first=0 if EVERY else dice.randrange(1000), strikes_max=some)
    assert report.strikes == report.died + report.failed + report.carried_on
    assert all(row_of(said) for said in report.claims)
    assert report.claims.total() == report.failed


def test_names_are_unique():
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)


def public(kind):
    return {f"{kind.__name__}.{name}" for name in dir(kind) if not name.startswith("_")}


def test_every_public_operation_is_swept_or_says_why_not():
    kinds = (holdfast.Vault, Snapshot, Courier, AuditTrail, Approvals)
    functions = {name for name in holdfast.__all__ if inspect.isfunction(getattr(holdfast, name))}
    assert set().union(*map(public, kinds)) | functions | {"join_vault"} == OPERATIONS.keys()
    swept = [name for row in OPERATIONS.values() if isinstance(row, tuple) for name in row]
    assert set(swept) == {command.name for command in COMMANDS}
    assert all(OPERATIONS.values()), "an operation without a reason"


def leaves(command, path):
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            yield from leaves(found, [*path, name])
    else:
        yield " ".join(path)


def test_every_command_of_the_command_line_is_swept_or_says_why_not():
    group = HoldfastGroup()
    context = click.Context(group)
    assert {leaf for name in CLI for leaf in leaves(group.get_command(context, name), [name])} == COMMAND_LINE.keys()
    for row in COMMAND_LINE.values():
        assert isinstance(row, str) or set(row) <= OPERATIONS.keys()


READS = {
    "Vault.snapshots": lambda v, _s: v.snapshots(),
    "Vault.find": lambda v, _s: [*v.find("*")],
    "Vault.versions": lambda v, _s: [*v.versions("/none")],
    "Vault.stats": lambda v, _s: v.stats(),
    "Vault.suspicions": lambda v, _s: v.suspicions(),
    "Vault.pending": lambda v, _s: v.pending(),
    "Vault.exposed": lambda v, _s: v.exposed(),
    "Vault.key_ledger": lambda v, _s: v.key_ledger(),
    "Vault.erasures": lambda v, _s: v.erasures(),
    "Vault.minimum_retention": lambda v, _s: v.minimum_retention,
    "Vault.compliance": lambda v, _s: v.compliance(),
    "Vault.plan_forget": lambda v, _s: v.plan_forget(holdfast.RetentionPolicy(last=1)),
    "Approvals.policy": lambda v, _s: v.approvals.policy,
    "AuditTrail.verify": lambda v, _s: v.audit.verify(),
    "AuditTrail.examine": lambda v, _s: v.audit.examine(),
    "AuditTrail.records": lambda v, _s: [*v.audit.records()],
    "AuditTrail.messages": lambda v, _s: [*v.audit.messages()],
    "AuditTrail.export": lambda v, _s: [*v.audit.export("R4")],
    "Courier.status": lambda v, _s: v.courier().status(),
    "Snapshot.ls": lambda _v, s: [*s.ls()],
    "Snapshot.walk": lambda _v, s: [*s.walk()],
    "Snapshot.diff": lambda _v, s: [*s.diff(s)],
    "Snapshot.restore_plan": lambda _v, s: s.restore_plan(),
    "Vault.check": lambda v, _s: v.check(),
    "Vault.repair": lambda v, _s: v.repair(dry_run=True),
    "Vault.prune": lambda v, _s: v.prune(dry_run=True),
}


def test_what_is_said_to_read_changes_nothing_on_a_store():
    with ground() as place:
        place.write("phi/a")
        place.create()
        with place.open() as vault:
            place.backup(vault)
        before = {name: data for name, data in place.objects().items() if "/audit/" not in name}
        for name, read in READS.items():
            assert name in OPERATIONS
            with place.open() as vault:
                read(vault, vault.snapshot())
            after = {name: data for name, data in place.objects().items() if "/audit/" not in name}
            assert after == before, name


def backup(**more):
    command = next(command for command in COMMANDS if command.name == "backup")
    told = {name: getattr(command, name) for name in ("name", "do", "done", "prepare")}
    return Command(**(told | more))


def test_a_run_that_lies_is_found_out():
    with pytest.raises(SweptError, match=r"did not|does not do") as caught:
        sweep(backup(do=lambda _g, v: v.check(), done=lambda _g, _v: False), ways=["cable"], step=40, first=39)
    assert "backup: cable at operation" in "".join(caught.value.__notes__)


def test_a_claim_that_is_not_true_is_found_out():
    def loses(ground, vault):
        for name in [n for n in ground.stores["home"].objects if n.startswith("data/")]:
            ground.stores["home"].objects.pop(name)
        return ground.backup(vault)

    with pytest.raises((SweptError, DamageError)):
        sweep(backup(do=loses), ways=["killed"], step=50, first=2)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (DamageError("it is damaged"), "damage is told"),
        (StoreFullError("full", safe="all is well."), "nothing proves"),
        (StoreFullError("full", safe="nothing was read or written."), "not true"),
    ],
)
def test_what_an_error_says_is_proved(error, found):
    def fails(ground, vault):
        try:
            return ground.backup(vault)
        except StoreUnreachableError:
            ground.stores["home"].objects["odd/name"] = b""
            raise error from None

    with pytest.raises(SweptError, match=found):
        sweep(backup(do=fails), ways=["cable"], step=1000, first=30)


def spoils_restores(ground, vault):
    next(iter(ground.acknowledged.values()))["none"] = b""
    return ground.backup(vault)


def adds_rubbish(ground, vault):
    ground.stores["home"].objects["hold/" + "0" * 32 + "/00000000"] = b"rubbish"
    return ground.backup(vault)


def forgets(ground, vault):
    found = ground.backup(vault)
    ground.stores["home"].objects.pop(f"snapshot/{next(iter(ground.acknowledged))}", None)
    return found


def throws_away(ground, vault):
    store = ground.stores["home"]
    found = ground.backup(vault)
    if store.strike is None:
        gone = next(name for name in store.objects if name.startswith("data/"))
        store.objects.pop(gone)
    return found


def refuses_twice(ground, vault):
    if ground.stores["home"].strike is None:
        raise StoreFullError("it is full the second time")
    return ground.backup(vault)


def says_untouched(ground, vault):
    try:
        return ground.backup(vault)
    except StoreUnreachableError:
        ground.stores["home"].objects["odd/name"] = b""
        raise UsageError("nothing", safe="every snapshot acknowledged before is as it was.") from None


def commits_after_all(ground, vault):
    try:
        return ground.backup(vault)
    except StoreUnreachableError:
        ground.stores["home"].objects["decision/odd/00000000"] = b""
        raise StoreFullError(
            "full", safe="nothing was committed; every snapshot acknowledged before is as it was."
        ) from None


@pytest.mark.parametrize(
    ("more", "way", "found"),
    [
        ({"do": spoils_restores}, "killed", "does not restore as it was"),
        ({"do": adds_rubbish, "done": lambda _g, _v: True}, "cable", "check finds"),
        ({"do": forgets, "done": lambda _g, _v: True, "incurable": True, "heals": True}, "cable", "."),
        ({"do": throws_away, "done": lambda _g, _v: True, "incurable": True}, "killed", "thrown away"),
        ({"do": refuses_twice}, "cable", "the next run ends with"),
        ({"do": says_untouched}, "cable", "nothing was touched, and something was"),
        ({"do": commits_after_all}, "cable", "the claim is not true"),
        ({"then": lambda _g, _v: False}, "cable", "does not do what was asked"),
    ],
)
def test_each_broken_promise_is_found_out(more, way, found):
    with pytest.raises((SweptError, DamageError), match=found):
        sweep(backup(**more), ways=[way], step=1000, first=10 if way == "killed" else 30)


def test_a_command_that_never_ends_and_one_that_breaks_are_told(monkeypatch, capsys):
    monkeypatch.setattr(run, "OPERATIONS_MAX", 3)
    with pytest.raises(SweptError, match="operations"):
        sweep(backup(), ways=["cable"])
    assert command_line.main(["--ways", "cable", "--", "hold"]) == 1
    assert "hold: BROKEN: hold takes" in capsys.readouterr().out


def test_a_vault_that_was_not_made_yet_is_no_loss():
    command = next(command for command in COMMANDS if command.name == "init")
    report = sweep(command, ways=["killed"], step=1000)
    assert (report.strikes, report.died, report.restores) == (1, 1, 0)


def test_the_command_line_sweeps_what_it_is_asked(capsys):
    assert command_line.main(["--step", "60", "hold"]) == 0
    assert "hold: " in capsys.readouterr().out
    assert command_line.main(["--step", "60", "no such command"]) == 2


def test_a_strike_counts_what_it_can_strike():
    assert Strike("killed").counts("put", "data/00/a")
    assert not Strike("killed").counts("get", "data/00/a")
    assert Strike("cable").counts("get", "data/00/a")
    assert Strike("torn").counts("put_new", "snapshot/a")
    assert not Strike("torn").counts("put_new", "keyring/00000000")

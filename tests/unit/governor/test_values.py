"""Budgets, signals, baselines, records and orders: pure values and what is computed from them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import pytest

from holdfast.governor.baseline import Baseline, slot_of
from holdfast.governor.budget import UNLIMITED, Budget, apply, fair_share, tightest
from holdfast.governor.cgroups import Write, plan_writes
from holdfast.governor.controller import Action, Decision
from holdfast.governor.plan import Course, GovernorPlan, Steer, order_of, share_of
from holdfast.governor.record import SAMPLES_MAX, Rates, Recorder, sample_of
from holdfast.governor.registry import RunRow
from holdfast.governor.signals import ProbeReading, compare, read_counters
from holdfast.governor.windows import Standing


class FakeLimits:
    read_bytes_per_s: int | None = None
    write_bytes_per_s: int | None = None
    network_bytes_per_s: int | None = None
    operations_per_s: int | None = None
    cpu_cores: float | None = None
    threads: int | None = None
    memory_bytes: int | None = None


def test_the_tightest_of_each_resource_counts():
    found = tightest(Budget(5, 9, threads=2), Budget(7, 3, cpu_cores=0.5), UNLIMITED)
    assert found == Budget(5, 3, cpu_cores=0.5, threads=2)
    assert tightest() == UNLIMITED
    assert UNLIMITED.is_unlimited
    assert Budget(operations_per_s=0).is_nothing
    assert not UNLIMITED.is_nothing
    assert Budget(10.0, cpu_cores=2.0, threads=4).scaled(0.5) == Budget(5.0, cpu_cores=1.0, threads=4)


def test_a_budget_is_set_in_whole_numbers_and_never_to_nothing():
    limits = FakeLimits()
    apply(limits, Budget(1000.7, 0.0, cpu_cores=0.25, threads=2, memory_bytes=1))
    assert (limits.read_bytes_per_s, limits.write_bytes_per_s, limits.cpu_cores, limits.threads) == (1000, 1, 0.25, 2)
    assert limits.memory_bytes == 8 << 20
    apply(limits, UNLIMITED)
    assert limits.read_bytes_per_s is None
    assert limits.memory_bytes is None


@pytest.mark.parametrize(
    ("demands", "mine", "share"),
    [
        ([math.inf], 0, 100),
        ([math.inf, math.inf], 1, 50),
        ([10, math.inf], 1, 90),
        ([10, 20], 0, 45),
        ([80, 80, 10], 0, 45),
    ],
)
def test_what_others_leave_of_a_shared_budget_goes_round(demands, mine, share):
    assert fair_share(100, demands, mine) == pytest.approx(share)
    assert sum(fair_share(100, demands, each) for each in range(len(demands))) <= 100 + 1e-9


def row(name: str, **rates) -> RunRow:
    return RunRow(name, "backup", "", 1, "2026", **rates)


def test_runs_share_what_the_machine_may_take():
    machine = Budget(read_bytes_per_s=100, cpu_cores=2.0, threads=4, memory_bytes=100 << 20)
    alone = share_of(machine, "a", [row("a")])
    assert alone == Budget(read_bytes_per_s=100, cpu_cores=2.0, threads=4, memory_bytes=100 << 20)
    both = [row("a", read_bytes_per_s=50, cpu_cores=1.0), row("b", read_bytes_per_s=8, cpu_cores=1.0)]
    mine = share_of(machine, "a", both)
    assert mine.read_bytes_per_s == pytest.approx(90), "b takes 8 and could grow to 10"
    assert (mine.cpu_cores, mine.threads, mine.memory_bytes) == (1.0, 2, 50 << 20)
    assert share_of(machine, "new", [row("b", read_bytes_per_s=100)]).read_bytes_per_s == 50
    assert share_of(Budget(threads=0), "a", [row("a")]).threads == 0


RUN = Decision(Action.RUN, 1.0, 0.0, "")
OPEN = Standing(closed=False, budget=UNLIMITED, slowdown_max=None, windows=())
CLOSED = Standing(closed=True, budget=UNLIMITED, slowdown_max=None, windows=("day",))


def ordered(plan=None, standing=OPEN, decision=RUN, steer=None, share=UNLIMITED, held=0.0, peaks=None):
    return order_of(
        plan or GovernorPlan(),
        standing,
        decision,
        steer or Steer(),
        share,
        peaks=peaks or Rates(),
        cores=2,
        held_seconds=held,
    )


def test_the_operator_goes_before_windows_and_windows_before_load():
    assert ordered().course is Course.RUN
    assert ordered().budget == UNLIMITED
    assert ordered(GovernorPlan(active=True)).budget == Budget(threads=2), "files are flushed in small steps"
    held = Decision(Action.HOLD, 0.01, 9.0, "probe ehr")
    found = ordered(standing=CLOSED, decision=held, steer=Steer(paused=True))
    assert (found.course, found.reason) == (Course.HOLD, "operator")
    found = ordered(standing=CLOSED, decision=held)
    assert (found.course, found.reason) == (Course.LEAVE, "window day")
    found = ordered(decision=held)
    assert (found.course, found.reason) == (Course.HOLD, "probe ehr")
    assert ordered(decision=held, held=60).course is Course.YIELD
    assert ordered(GovernorPlan(wait_for_window=True), CLOSED).course is Course.HOLD
    assert ordered(GovernorPlan(wait_for_window=True), CLOSED, held=60).course is Course.YIELD
    found = ordered(steer=Steer(limits=Budget(read_bytes_per_s=0)))
    assert (found.course, found.reason) == (Course.HOLD, "budget of zero")


def test_a_level_is_a_part_of_the_speed_that_was_seen():
    found = ordered(decision=Decision(Action.RUN, 0.5, 2.0, "io"), peaks=Rates(read_bytes_per_s=100e6))
    assert found.budget.read_bytes_per_s == 50e6
    assert found.budget.write_bytes_per_s == 4e6, "at least what any disk does"
    assert found.budget.cpu_cores == 1.0
    assert found.reason == "io"
    limited = ordered(decision=Decision(Action.RUN, 0.5, 2.0, "io"), share=Budget(read_bytes_per_s=1e6))
    assert limited.budget.read_bytes_per_s == 1e6
    peak = Standing(closed=False, budget=Budget(cpu_cores=1.0), slowdown_max=None, windows=("rounds",))
    assert ordered(standing=peak).reason == "window rounds"


PROC = {
    "/proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n",
    "/proc/pressure/io": "some avg10=0 avg60=0 avg300=0 total=2000000\nfull avg10=0 total=1\n",
    "/proc/pressure/memory": "some avg10=0 avg60=0 avg300=0 total=0\n",
    "/proc/loadavg": "3.85 3.58 2.22 6/140 32073\n",
    "/proc/diskstats": (
        "   8       0 sda 100 0 800 50 100 0 800 150 0 90 200 0 0 0 0\n"
        "   8       1 sda1 100 0 800 50 100 0 800 150 0 90 200\n"
        " 259       0 nvme0n1 10 0 80 5 0 0 0 0 0 5 5\n"
        "   7       0 loop0 9 9 9 9 9 9 9 9 9 9 9\n   8 0 sdb 1\n"
    ),
    "/proc/stat": "cpu  100 0 100 700 100 0 0 0 5 5\ncpu0 1\n",
    "/proc/meminfo": "MemTotal:       1000 kB\nMemFree: 5 kB\nMemAvailable:    250 kB\n",
    "/proc/net/dev": (
        "Inter-|   Receive\n face |bytes\n    lo: 999 0 0 0 0 0 0 0 999 0 0 0 0 0 0 0\n"
        "  eth0: 1000 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0\n"
    ),
}
LATER = {
    **PROC,
    "/proc/pressure/cpu": "some avg10=0.00 avg60=0.00 avg300=0.00 total=1500000\n",
    "/proc/pressure/io": "some avg10=0.00 total=9900000\n",
    "/proc/diskstats": (
        "   8       0 sda 150 0 800 100 150 0 800 300 0 890 900 0 0 0 0\n 259       0 nvme0n1 10 0 80 5 0 0 0 0 0 5 5\n"
    ),
    "/proc/stat": "cpu  150 0 150 750 150 0 0 0 5 5\n",
    "/proc/net/dev": "  eth0: 3000 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0\n",
}


def test_the_kernel_s_counters_become_signals():
    signals = compare(read_counters(10, PROC.get), read_counters(12, LATER.get), (ProbeReading("p", "well"),))
    assert signals.cpu_stall == pytest.approx(0.25)
    assert signals.io_stall == 1.0, "never more than all of the time"
    assert signals.memory_stall == 0
    assert signals.disk_busy == pytest.approx(0.4)
    assert signals.disk_latency == pytest.approx(0.002)
    assert signals.cpu_busy == pytest.approx(0.5)
    assert signals.run_queue == 6
    assert signals.memory_available == 0.25
    assert signals.network_bytes_per_s == 1000
    assert signals.missing == ()
    assert signals.probes[0].name == "p"


def test_what_a_machine_does_not_say_is_missing_and_no_more():
    nothing: dict[str, str] = {}
    signals = compare(read_counters(1, nothing.get), read_counters(2, nothing.get))
    assert signals.missing == ("cpu stalls", "io stalls", "memory stalls", "disks", "cpu", "memory")
    assert signals.network_bytes_per_s is None
    assert signals.run_queue is None


def test_counters_that_ran_backwards_count_as_absent():
    signals = compare(read_counters(1, LATER.get), read_counters(2, PROC.get))
    assert signals.cpu_stall is None
    assert signals.cpu_busy is None
    assert signals.disk_busy == 0, "the disk that went on counts"
    assert signals.network_bytes_per_s == 0
    no_memory = {**PROC, "/proc/meminfo": "MemTotal: 0 kB\nMemAvailable: 0 kB\n"}
    assert read_counters(1, no_memory.get).memory_available is None


def test_this_machine_s_files_can_be_read():
    first = read_counters(1.0)
    assert first.cpu is not None
    assert first.memory_available is not None
    assert compare(first, read_counters(2.0)).run_queue is not None


def test_a_slowdown_needs_a_latency_and_what_is_usual():
    assert ProbeReading("p", "well", 1.2, 1.0).slowdown == pytest.approx(0.2)
    assert ProbeReading("p", "well", 1.2, 1.0, scatter=0.15).slowdown == pytest.approx(0.05)
    assert ProbeReading("p", "well", 1.1, 1.0, scatter=0.15).slowdown == 0
    assert ProbeReading("p", "learning", 1.2, None).slowdown is None
    assert ProbeReading("p", "hanging", 9.0, 1.0).slowdown is None


def test_a_baseline_learns_per_hour_of_the_week_and_survives_a_restart(tmp_path):
    path = tmp_path / "baseline.json"
    baseline = Baseline(path)
    monday = slot_of(datetime(2026, 11, 23, 9, 30, tzinfo=UTC))
    assert monday == 9
    for latency in (1.0, 2.0, 3.0, 2.0, 2.0):
        baseline.learn("ehr", monday, latency)
    assert baseline.usual("ehr", monday) == 2.0
    assert baseline.scatter("ehr", monday) == 1.0
    assert baseline.scatter("other", monday) == 0.0
    assert baseline.usual("ehr", monday + 24) == 2.0, "the same hour of another day"
    assert baseline.usual("ehr", 100) == 2.0, "any hour, if nothing nearer is known"
    assert baseline.usual("other", 9) is None
    assert baseline.save()
    again = Baseline(path)
    assert again.usual("ehr", 9) == 2.0
    assert again.probes() == ("ehr",)
    assert again.by_hour("ehr") == {9: 2.0}
    for _ in range(100):
        again.learn("ehr", 9, 5.0)
    assert again.usual("ehr", 9) == 5.0, "the newest count"
    again.learn("few", 1, 1.0)
    assert again.usual("few", 1) is None
    assert not Baseline(tmp_path / "no" / "folder").save()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a": 1}', '{"a": {"x": []}}', '{"a": {"1": ["b"]}}', '{"a": {"1": [-1]}}', '{"a": {"1": [1e9]}}'],
)
def test_a_baseline_that_cannot_be_read_is_an_empty_one(tmp_path, text):
    (tmp_path / "b").write_text(text)
    assert Baseline(tmp_path / "b").probes() == ()
    (tmp_path / "big").write_text(json.dumps({"a": {"1": [1.0]}}) + " " * (9 << 20))
    assert Baseline(tmp_path / "big").probes() == ()


def test_a_record_is_bounded_and_says_why():
    recorder = Recorder()
    for second in range(1, 2001):
        held = 1.0 if second % 10 == 0 else 0.0
        sample = sample_of(second, 0.5 if second > 1000 else 1.0, 0.2, held, Rates(second), Budget(read_bytes_per_s=7))
        recorder.note(sample, 1.0, "io" if second > 1000 else "")
    record = recorder.record()
    assert len(record.samples) <= SAMPLES_MAX
    assert record.samples[-1].seconds == 2000
    assert record.samples[-1].read_allowed == 7
    assert record.reasons == ("io",)
    assert record.slowed_seconds == 1100
    assert record.held_seconds == 200
    # What was read in all is what the samples say, whatever was merged.
    ends = [0.0, *(sample.seconds for sample in record.samples)]
    total = sum(s.read_bytes_per_s * (s.seconds - start) for s, start in zip(record.samples, ends, strict=False))
    assert total == pytest.approx(sum(range(2001)), rel=0.01)
    assert Recorder().record().samples == ()


def test_control_groups_of_both_versions_get_the_budget_and_lose_it():
    budget = Budget(read_bytes_per_s=1e6, operations_per_s=50.5, cpu_cores=0.5)
    assert plan_writes(budget, ["8:0"], version=2) == (
        Write("", "cpu.max", "50000 100000"),
        Write("", "io.max", "8:0 rbps=1000000 wbps=max riops=50 wiops=50"),
    )
    first = plan_writes(budget, ["8:0"], version=1)
    assert Write("cpu", "cpu.cfs_quota_us", "50000") in first
    assert Write("blkio", "blkio.throttle.read_bps_device", "8:0 1000000") in first
    assert Write("blkio", "blkio.throttle.write_bps_device", "8:0 0") in first, "zero lifts a limit there"
    assert plan_writes(UNLIMITED, [], version=2) == (Write("", "cpu.max", "max 100000"),)
    assert Write("cpu", "cpu.cfs_quota_us", "-1") in plan_writes(UNLIMITED, [], version=1)
    tiny = plan_writes(Budget(cpu_cores=0.0001), [], version=2)
    assert tiny == (Write("", "cpu.max", "1000 100000"),), "the kernel takes no less"

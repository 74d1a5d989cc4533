"""Settings of the governor that make no sense are refused at load, all at once; those that do become a plan."""

from __future__ import annotations

import pytest

from holdfast import config
from holdfast.errors import ConfigError
from holdfast.governor.probes import CommandProbe, HttpProbe, SqlProbe
from holdfast.runs.configured import governor_plan, limits
from option_cases import HEAD

BAD = (
    HEAD
    + """
[limits]
memory_bytes = "1MiB"
[governor.probes.both]
http = "http://x/"
command = ["true"]
[governor.probes.none]
[windows.a]
start = "25:00"
end = "7"
zone = "Mars/Olympus"
days = ["funday"]
holidays = ["Christmas"]
mode = "open"
[windows.b]
start = "07:00"
end = "08:00"
days = []
"""
)

GOOD = (
    HEAD
    + """
[jobs.ehr]
paths = ["/srv"]
rpo_seconds = "4h"
[jobs.ehr.limits]
read_bytes_per_s = "1MB"
[limits]
read_bytes_per_s = "9MB"
threads = 3
[governor.machine]
cpu_cores = 2
[governor.probes.db]
sql = "postgresql:///ehr"
password = "env:P"
[governor.probes.free]
sql = "mariadb://u@h/d"
[governor.probes.web]
http = "http://localhost/"
[governor.probes.cmd]
command = ["true"]
timeout_seconds = 1
[windows.night]
mode = "closed"
start = "22:00"
end = "05:00"
holidays = ["2026-12-25"]
slowdown_max = 0.05
"""
)


def test_all_faults_are_said_at_once():
    with pytest.raises(ConfigError) as caught:
        config.loads(BAD, environ={})
    text = str(caught.value)
    for part in (
        "limits.memory_bytes", "probes.both: a probe has one of", "probes.none: a probe has one of", "windows.a.start",
        "windows.a.end", "windows.a.zone: not a time zone", "windows.a.days: days are", "windows.a.holidays", "windows.a.mode",
        "windows.b.days: days are",
    ):  # fmt: skip
        assert part in text, part


def test_a_configuration_becomes_a_plan():
    settings = config.loads(GOOD, environ={}).settings
    plan = governor_plan(settings, {"P": "secret"})
    assert [type(probe) for probe in plan.probes] == [SqlProbe, SqlProbe, HttpProbe, CommandProbe]
    assert plan.probes[3].timeout == 1.0
    assert plan.machine.cpu_cores == 2
    assert {job: rpo.total_seconds() for job, rpo in plan.objectives.items()} == {"ehr": 14_400}
    (night,) = plan.calendar.windows
    assert (night.mode, night.slowdown_max, len(night.holidays)) == ("closed", 0.05, 1)
    assert limits(settings).read_bytes_per_s == 9_000_000
    assert (limits(settings, "ehr").read_bytes_per_s, limits(settings, "ehr").threads) == (1_000_000, 3)
    assert limits(settings, "other").read_bytes_per_s == 9_000_000
    with pytest.raises(ConfigError, match="no variable P"):
        governor_plan(settings, {})

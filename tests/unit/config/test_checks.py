"""What no single option can say is refused at load: all of it at once, each fault with its line."""

from __future__ import annotations

import pytest

from holdfast import config
from holdfast.config.checks import nobody_told
from holdfast.config.objectives import rpo_of
from holdfast.errors import ConfigError
from holdfast.runs import configured
from option_cases import HEAD

WRONG = """[vault]
url = "/v"
[jobs.ehr]
paths = ["/srv"]
[scheduler]
zone = "Mars/Olympus"
[schedule.a]
job = "hris"
cron = "61 * * * *"
[schedule.b]
kind = "defrag"
[schedule.c]
kind = "verify"
cron = "0 12 * * *"
windows = ["20:00-06:00"]
[schedule.d]
kind = "verify"
after = ["e", "nobody"]
[schedule.e]
kind = "verify"
after = ["d"]
[schedule.f]
kind = "check"
every_seconds = "4h"
cron = "0 1 * * *"
[schedule.g]
every_seconds = "1m"
jitter_seconds = "1h"
windows = ["always"]
[schedule.h]
kind = "check"
every_seconds = "1m"
jitter_seconds = "1h"
[schedule.i]
kind = "drill"
job = "lab"
every_seconds = "30d"
[schedule.j]
kind = "migrate"
every_seconds = "1d"
[alerts]
zone = "Mars/Olympus"
quiet_hours = ["00:00-12:00", "12:00-00:00", "late"]
heartbeat_channel = "drum"
[channels.pigeon]
kind = "pigeon"
[channels.mail]
kind = "mail"
sender = "x@y"
[channels.local]
kind = "syslog"
transport = "unix"
[channels.remote]
kind = "syslog"
[contacts.nobody]
[contacts.anna]
channels = ["mail", "smoke"]
quiet_hours = ["00:00-24:00"]
public_key = "xyz"
[[escalation.levels]]
contacts = ["berta"]
[[escalation.levels]]
[[escalation.rows]]
safety = "intact"
retry = "never"
first_level = 3
[[escalation.rows]]
safety = "intact"
retry = "never"
first_level = 2
last_level = 1
[[escalation.rows]]
safety = "intact"
retry = "later"
last_level = 9
"""

EXPECTED = [
    "6: scheduler.zone: not a time zone",
    "8: schedule.a.job: there is no job hris",
    "9: schedule.a.cron: not a cron expression",
    "11: schedule.b.kind: unknown kind of job",
    "10: schedule.b: can never run: it has neither",
    "14: schedule.c.cron: can never run: no time of it lies in its windows",
    "18: schedule.d.after.1: the schedule has no entry nobody",
    "18: schedule.d.after: can never run: it waits for itself",
    "21: schedule.e.after: can never run: it waits for itself",
    "25: schedule.f.cron: either `cron` or `every_seconds`",
    "26: schedule.g.job: a backup needs the job",
    "29: schedule.g.windows.0: not a window",
    "33: schedule.h.jitter_seconds: is longer than",
    "36: schedule.i.job: there is no service lab",
    "39: schedule.j.kind: there is nowhere to migrate to",
    "42: alerts.zone: not a time zone",
    "43: alerts.quiet_hours.2: not a window",
    "43: alerts.quiet_hours: quiet hours without an end",
    "44: alerts.heartbeat_channel: there is no channel drum",
    "46: channels.pigeon.kind: unknown kind of channel (there are: chat, command, file, mail, snmp, syslog, webhook)",
    "47: channels.mail.host: is required by a channel of kind mail",
    "50: channels.local.host: syslog over `unix` needs `path`",
    "53: channels.remote.host: syslog over udp needs `host`",
    "55: contacts.nobody.channels: nobody can be reached without a channel",
    "57: contacts.anna.channels.1: there is no channel smoke",
    "56: contacts.anna.address: neither the contact nor the channel mail has an address",
    "58: contacts.anna.quiet_hours: quiet hours without an end",
    "59: contacts.anna.public_key: not a public key",
    "61: escalation.levels.0.contacts.0: there is no contact berta",
    "61: escalation.levels.0.contacts: at level 1 nobody can be reached",
    "62: escalation.levels.1.contacts: at level 2 nobody can be reached",
    "63: escalation.rows.0: there are several rows for (intact, never)",
    "66: escalation.rows.0.first_level: can never fire: there are 2 levels",
    "67: escalation.rows.1: there are several rows",
    "71: escalation.rows.1.last_level: can never fire: the last level is below the first",
    "75: escalation.rows.2.last_level: there are 2 levels",
]


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config.loads(text, "site.toml", environ={})
    return list(caught.value.problems)


def test_every_fault_is_named_at_once_with_its_line():
    problems = problems_of(WRONG)
    for expected in EXPECTED:
        assert any(problem.startswith(f"site.toml:{expected}") for problem in problems), (expected, problems)
    assert len(problems) == len(EXPECTED)


def test_faults_between_options_are_named_beside_faults_of_options():
    problems = problems_of(WRONG.replace('url = "/v"', "url = 3").replace("[jobs.ehr]\npaths", "[jobs.ehr]\npath"))
    text = "\n".join(problems)
    assert "vault.url" in text
    assert "jobs.ehr.path: no such key" in text
    assert "contacts.anna.channels.1: there is no channel smoke" in text
    assert "schedule.a.job: there is no job hris" in text


def test_a_fault_in_one_entry_hides_no_fault_of_another_nor_of_another_table():
    """Each fault is named by its place in the file: ten, of which the loader once said the first five."""
    text = """[vault]
url = 3
[jobs.ehr]
paths = "/srv"
[schedule."a b"]
kind = "verify"
cron = "61 * * * *"
[schedule.c]
kind = "defrag"
every_seconds = "1d"
[schedule.d]
job = "ehr"
jitter_seconds = "soon"
[schedule.e]
job = "ehr"
after = ["nobody"]
[alerts]
zonee = "Mars"
zone = "Mars/Olympus"
[contacts.anna]
channels = ["nope"]
"""
    assert [problem.removeprefix("site.toml:").rpartition(": ")[0].split(": ")[:2] for problem in problems_of(text)] == [
        ["2", "vault.url"], ["4", "jobs.ehr.paths"], ["5", "schedule.a b"], ["13", "schedule.d.jitter_seconds"],
        ["18", "alerts.zonee"], ["19", "alerts.zone"], ["21", "contacts.anna.channels.0"], ["7", "schedule.a b.cron"],
        ["9", "schedule.c.kind"], ["16", "schedule.e.after.0"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ('[alerts]\ndigest_contacts = 3\n[schedule.m]\nkind = "digest"\nevery_seconds = "1d"\n', "nobody would get it"),
        ('[escalation]\nlevels = 3\n[[escalation.rows]]\nsafety = "intact"\nretry = "never"\n', "can never fire"),
        ('[jobs.ehr]\nrpo_seconds = -1\n[schedule.x]\njob = "ehr"\nevery_seconds = "1d"\n', "there is no job"),
        ('[channels.m]\nport = 1\n[contacts.a]\nchannels = ["m"]\n', "there is no channel"),
        ('[schedule.x]\nkind = "verify"\ncron = 3\n', "can never run"),
        ("schedule = 3\n", "no entry"),
    ],
)
def test_nobody_is_blamed_for_what_was_taken_out_to_look_further(text, hidden):
    (problem,) = problems_of(
        f'{text if text.startswith("schedule") else ""}[vault]\nurl = "/v"\n' + text * text.startswith("[")
    )
    assert hidden not in problem


def test_rows_without_anybody_and_several_tables():
    row = '[[escalation.rows]]\nsafety = "intact"\nretry = "never"\n'
    assert "can never fire: there are neither levels nor contacts" in problems_of(HEAD + row)[0]
    channel = '[channels.a]\nkind = "file"\npath = "/x"\n[contacts.a]\nchannels = ["a"]\n'
    assert config.loads(HEAD + channel + row, environ={}).settings.contacts["a"].channels == ("a",)


OBJECTIVES = (
    HEAD
    + """
[jobs.ehr]
paths = ["/srv"]
rpo_seconds = "2d"
[jobs.lab]
paths = ["/srv"]
[services.admission]
source = "ehr"
rpo = "1d"
[services.lab]
rpo = "4h"
[schedule.nightly]
job = "lab"
every_seconds = "1d"
[schedule.ehr]
job = "ehr"
every_seconds = "1d"
"""
)


def test_an_objective_is_said_once_and_kept_by_the_schedule():
    with pytest.raises(ConfigError) as caught:
        config.loads(OBJECTIVES, environ={})
    problems = caught.value.problems
    assert len(problems) == 2
    assert "jobs.ehr.rpo_seconds: is looser than services.admission.rpo" in "".join(problems)
    assert "schedule.nightly: the objective of the job lab can never be kept" in "".join(problems)
    mended = OBJECTIVES.replace('rpo_seconds = "2d"', 'rpo_seconds = "1d"').replace('"4h"', '"36h"')
    settings = config.loads(mended, environ={}).settings
    assert [rpo_of(settings, job) for job in ("ehr", "lab", "none")] == [86_400, 129_600, None]


FILE = '[channels.a]\nkind = "file"\npath = "/x"\n'
JOB = '[jobs.j]\npaths = ["/j"]\n'
ANNA = FILE + '[contacts.anna]\nchannels = ["a"]\n'
TWO_LEVELS = ANNA + '[[escalation.levels]]\ncontacts = ["anna"]\n' * 2
SAFETIES, RETRIES = ("untouched", "intact", "degraded", "at risk"), ("never", "later", "exhausted")
ROW = '[[escalation.rows]]\nsafety = "{}"\nretry = "{}"\nlast_level = 1\n'
ALONE = {
    "an unknown channel": (FILE + '[contacts.anna]\nchannels = ["b"]\n', "there is no channel b"),
    "an unknown kind of channel": ('[channels.a]\nkind = "smoke"\n', "unknown kind of channel"),
    "a channel that reaches nobody": ('[channels.a]\nkind = "webhook"\n', "is required by a channel of kind webhook"),
    "a contact without a channel": ("[contacts.anna]\n", "nobody can be reached without a channel"),
    "a contact without an address": (
        '[channels.m]\nkind = "mail"\nhost = "h"\nsender = "x@y"\n[contacts.anna]\nchannels = ["m"]\n',
        "neither the contact nor the channel m has an address",
    ),
    "a contact that is always quiet": (ANNA + 'quiet_hours = ["00:00-24:00"]\n', "they could not be reached"),
    "an escalation with no level that can be reached": (
        ANNA + "[[escalation.levels]]\ncontacts = []\n",
        "at level 1 nobody can be reached",
    ),
    "a row that never fires": (
        ANNA + '[[escalation.rows]]\nsafety = "intact"\nretry = "never"\nfirst_level = 2\n',
        "can never fire: there are 1 levels",
    ),
    "quiet hours without an end": (
        '[alerts]\nquiet_hours = ["00:00-24:00"]\n',
        "nothing but `at risk` would ever be told",
    ),
    "a retry that never fires": (
        "[retry.delivery]\nfirst_seconds = 60\nbudget_seconds = 5\n",
        "would never fire: the first pause is longer than the budget",
    ),
    "pauses of no retry": ("[retry.store_unreachable]\nattempts = 1\nfirst_seconds = 2\n", "one attempt is no retry"),
    "pauses that shrink": (
        "[retry.delivery]\nfirst_seconds = 9\nlongest_seconds = 5\n",
        "is shorter than the first pause",
    ),
    "a breaker's pauses that shrink": (
        "[breaker]\nopen_seconds = 9\nlongest_seconds = 5\n",
        "is shorter than the first pause",
    ),
    "a date that there is not": (
        '[schedule.a]\nkind = "verify"\ncron = "0 0 31 2 *"\n',
        "schedule.a.cron: not a cron expression",
    ),
    "a day that never comes": (
        '[schedule.a]\nkind = "verify"\ncron = "0 0 30 2 *"\n',
        "schedule.a.cron: not a cron expression of any time: it never comes",
    ),
    "a level that no row reaches": (
        TWO_LEVELS + "".join(ROW.format(safety, retry) for safety in SAFETIES for retry in RETRIES),
        "escalation.levels.1: can never be reached: every row ends at level 1",
    ),
    "a drill of nothing": (
        '[schedule.a]\nkind = "drill"\nevery_seconds = "30d"\n',
        "schedule.a.kind: there is nothing to drill",
    ),
    "a job that a verification does not mind": (
        JOB + '[schedule.a]\nkind = "verify"\njob = "j"\nevery_seconds = "1d"\n',
        "schedule.a.job: has no effect",
    ),
    "a job that a forget does not mind": (
        JOB + '[schedule.a]\nkind = "forget"\njob = "j"\nevery_seconds = "1d"\n',
        "schedule.a.job: has no effect",
    ),
    "an end of windows that there are not": (
        '[schedule.a]\nkind = "verify"\nevery_seconds = "1d"\nstop_at_window_end = true\n',
        "schedule.a.stop_at_window_end: has no effect without `windows`",
    ),
    "a time outside of its windows": (
        '[schedule.a]\nkind = "verify"\ncron = "0 12 * * *"\nwindows = ["20:00-06:00"]\n',
        "can never run: no time of it lies in its windows",
    ),
    "an objective that no weekend keeps": (
        JOB + 'rpo_seconds = "1d"\n[schedule.a]\nkind = "backup"\njob = "j"\ncron = "0 * * * mon-fri"\n',
        "can never be kept",
    ),
    "an objective that its windows break": (
        JOB + 'rpo_seconds = "1d"\n[schedule.a]\nkind = "backup"\njob = "j"\nevery_seconds = "1h"\n'
        'windows = ["sun 10:00-11:00"]\n',
        "can never be kept",
    ),
    "an entry without a time": ('[schedule.a]\nkind = "verify"\n', "can never run: it has neither"),
    "an entry that waits for itself": (
        '[schedule.a]\nkind = "verify"\nafter = ["a"]\n',
        "can never run: it waits for itself",
    ),
    "a password of mail in the clear": (
        '[channels.m]\nkind = "mail"\nhost = "h"\nsender = "x@y"\nusername = "u"\npassword = "env:P"\n',
        "channels.m.security: the password would go over the network in the clear",
    ),
    "a token in the clear": (
        '[telemetry]\nendpoint = "http://otel.hospital.example:4318"\ntoken = "env:T"\n',
        "telemetry.endpoint: the token would go over the network in the clear",
    ),
    "a collector that is no address": (
        '[telemetry]\nendpoint = "http://[otel"\n',
        "telemetry.endpoint: must be a URL with a host",
    ),
    "a contact in no level": (
        ANNA + '[contacts.berta]\nchannels = ["a"]\n[[escalation.levels]]\ncontacts = ["anna"]\n',
        "contacts.berta: would never be told anything",
    ),
    "a digest for nobody": (
        '[schedule.a]\nkind = "digest"\nevery_seconds = "1d"\n',
        "nobody would get it",
    ),
    "a digest for somebody unknown": (ANNA + '[alerts]\ndigest_contacts = ["b"]\n', "there is no contact b"),
}


@pytest.mark.parametrize("what", ALONE)
def test_each_is_refused_by_itself(what):
    text, said = ALONE[what]
    (problem,) = problems_of(HEAD + text)
    assert said in problem


def test_all_of_them_are_said_at_once():
    """What can stand in one file, in one file: as many faults as there are."""
    parts = (
        '[channels.a]\nkind = "smoke"\n[contacts.anna]\nchannels = ["b"]\n',
        '[[escalation.levels]]\ncontacts = ["berta"]\n',
        "[retry.delivery]\nfirst_seconds = 60\nbudget_seconds = 5\n",
        "[breaker]\nopen_seconds = 9\nlongest_seconds = 5\n",
        '[schedule.a]\nkind = "verify"\ncron = "0 0 31 2 *"\n',
        '[alerts]\ndigest_contacts = ["b"]\n',
    )
    assert len(problems_of(HEAD + "".join(parts))) == 8
    more = (
        '[policies.phi]\nstores = ["nowhere"]\n[[policies.phi.moves]]\nafter = "30d"\nstores = ["nowhere"]\n',
        '[schedule.b]\nkind = "verify"\njob = "j"\ncron = "0 0 30 2 *"\nstop_at_window_end = true\n',
        '[schedule.c]\nkind = "drill"\nevery_seconds = "30d"\n',
    )
    assert len(problems_of(HEAD + "".join(parts + more))) == 14
    wrong = '[monitoring]\nlisten = 3\n[limits]\nread_bytes_per_s = "fast"\n'
    assert len(problems_of(HEAD + wrong + "".join(parts + more))) == 16, "whatever other tables are like"


@pytest.mark.parametrize("other", ["[monitoring]\nlisten = 3\n", "[contacts.anna]\n"])
def test_every_fault_of_a_policy_is_named_beside_other_faults(other, tmp_path):
    text = (
        '[vault]\nurl = "/srv/vault"\n[policies.phi]\nstores = ["home", "nowhere"]\n'
        '[policies.imaging]\nstores = ["home", "home"]\n[tiers.none]\n'
    )
    path = tmp_path / "holdfast.toml"
    path.write_text(text + other)
    with pytest.raises(ConfigError) as caught:
        configured.configuration(path)
    said = "\n".join(caught.value.problems)
    for each in (
        "stores: there is no store nowhere",
        "policies.phi.stores: a single copy of phi (",
        "imaging.stores: a store is named twice",
        "no store none",
    ):
        assert said.count(each) == 1, said


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ('[policies.phi]\nstores = ["home", "nowhere"]\n', "policies.phi.stores: there is no store nowhere"),
        (
            '[[policies.phi.moves]]\nafter = "30d"\nstores = ["nowhere"]\n',
            "policies.phi.moves.0.stores: there is no store nowhere",
        ),
    ],
)
@pytest.mark.parametrize(
    "other", ["[monitoring]\nlisten = 3\n", "[contacts.anna]\n"], ids=["of-an-option", "between-options"]
)
def test_a_store_that_there_is_not_is_named_beside_other_faults(policy, said, other):
    """By itself whoever opens the vault refuses it, with all that a policy lacks."""
    problems = problems_of(HEAD + policy + other)
    assert len(problems) == 2
    assert said in problems[1]
    assert config.loads(HEAD + policy, environ={}).settings.policies


def test_a_level_that_one_row_reaches_is_no_fault():
    rows = [ROW.format(safety, retry) for safety in SAFETIES for retry in RETRIES][:-1]
    assert config.loads(HEAD + TWO_LEVELS + "".join(rows), environ={}).settings.escalation.rows


def test_who_gets_the_digest_needs_no_level():
    text = ANNA + '[contacts.berta]\nchannels = ["a"]\n[alerts]\ndigest_contacts = ["berta"]\n'
    text += '[[escalation.levels]]\ncontacts = ["anna"]\n'
    assert set(config.loads(HEAD + text, environ={}).settings.contacts) == {"anna", "berta"}


def test_a_schedule_of_which_nobody_hears_is_known():
    entry = '[schedule.proof]\nkind = "verify"\nevery_seconds = "1d"\n'
    assert nobody_told(config.loads(HEAD + entry, environ={}).settings)
    assert not nobody_told(config.loads(HEAD + entry + ANNA, environ={}).settings)
    assert not nobody_told(config.loads(HEAD, environ={}).settings)


@pytest.mark.parametrize(
    "text",
    [
        '[channels.m]\nkind = "mail"\nhost = "127.0.0.1"\nsender = "x@y"\nusername = "u"\npassword = "env:P"\n',
        '[channels.m]\nkind = "mail"\nhost = "h"\nsender = "x@y"\nusername = "u"\npassword = "env:P"\nsecurity = "tls"\n',
        '[telemetry]\nendpoint = "http://[::1]:4318"\ntoken = "env:T"\n',
        '[telemetry]\nendpoint = "https://otel.hospital.example"\ntoken = "env:T"\n',
        '[telemetry]\nendpoint = "http://otel.hospital.example"\n',
    ],
)
def test_a_secret_that_stays_here_or_is_sealed_may_be_sent(text):
    settings = config.loads(HEAD + text, environ={}).settings
    assert settings.channels or settings.telemetry.endpoint


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('vault = 3\n[contacts.anna]\nchannels = ["nope"]\n', 2),
        (
            '[vault]\nurl = "/v"\n[schedule."a b"]\nkind = "verify"\ncron = 3\n[schedule.c]\nkind = "defrag"\ncron = "0 1 * * *"\n',
            3,
        ),
        ('[vault]\nurl = "/v"\n[channels.m]\nkind = 3\n[schedule.c]\nkind = "defrag"\ncron = "0 1 * * *"\n', 2),
    ],
)
def test_what_takes_several_mends_is_looked_into_all_the_same(text, count):
    assert len(problems_of(text)) == count

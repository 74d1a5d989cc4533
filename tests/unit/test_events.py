"""An alert says what an error said, about something opaque; a command prints it whatever its form of output."""

from __future__ import annotations

import json

import holdfast
from holdfast.base.events import Alert
from holdfast.cli.output import Output
from holdfast.errors import DamageError, Safety


def test_an_alert_is_made_of_an_error():
    alert = Alert.of(DamageError("three packs are damaged", next="verify"), "ehr")
    assert alert == holdfast.Alert(
        "damage", "ehr", "three packs are damaged", Safety.DEGRADED, alert.retry, DamageError.safe, "verify"
    )


def test_an_alert_is_printed_for_people_and_for_programs(capsys):
    alert = Alert("rpo-danger", "ehr", "no backup for 26 h", Safety.AT_RISK)
    with Output(as_json=False, quiet=False, show_paths=False).events("backup") as events:
        events(alert)
    assert capsys.readouterr().err == "ALERT (at risk) ehr: no backup for 26 h\n"
    with Output(as_json=True, quiet=False, show_paths=False).events("backup") as events:
        events(alert)
    record = json.loads(capsys.readouterr().out)
    assert (record["type"], record["code"], record["safety"]) == ("alert", "rpo-danger", "at risk")

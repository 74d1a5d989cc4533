"""An application that is away or busy is asked again by its policy, one that is dead is left alone, also by the next process."""

from __future__ import annotations

from datetime import timedelta
from typing import cast

import pytest

from holdfast.base.environment import ManualClock
from holdfast.errors import (
    ApplicationAccessError,
    ApplicationBusyError,
    ApplicationLeftAloneError,
    ApplicationUnreachableError,
)
from holdfast.reliability.breaker import BreakerPolicy, BreakerState
from holdfast.reliability.retry import POLICIES
from holdfast.sources.approach import Approach, BreakerFile
from holdfast.sources.connectors.protocol import Connector, Facts


class Checked:
    """A connector whose check ends as the test says; it counts the asking."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = [*errors]
        self.asked = 0

    def check(self) -> Facts:
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return Facts("1")


def checked(approach: Approach, connector: Checked) -> Facts:
    return approach.check(cast("Connector", connector))


def away(times: int) -> list[Exception]:
    return [ApplicationUnreachableError("nobody listens") for _ in range(times)]


def test_what_comes_back_in_time_is_no_failure():
    clock = ManualClock()
    connector = Checked(*away(2), ApplicationBusyError("another backup"))
    assert checked(Approach(clock.environment()), connector).version == "1"
    assert (connector.asked, len(clock.slept)) == (4, 3)


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (ApplicationUnreachableError, POLICIES["application-unreachable"].attempts),
        (ApplicationBusyError, POLICIES["application-busy"].attempts),
        (ApplicationAccessError, 1),
    ],
)
def test_each_kind_has_as_many_tries_as_its_policy_says_and_no_layer_multiplies_them(error, asked):
    connector = Checked(*[error("no") for _ in range(100)])
    with pytest.raises(error) as caught:
        checked(Approach(ManualClock().environment()), connector)
    assert connector.asked == caught.value.facts["attempts"] == asked


def test_a_dead_application_is_left_alone_by_every_process_and_found_again(tmp_path):
    """Twenty runs, each a process of its own: only the first ones and one per pause ask; the pauses double, up to the longest."""
    clock = ManualClock()
    keep, policy = tmp_path / "applications" / "ehr.breaker", BreakerPolicy(4, 60.0, 120.0)
    connector = Checked(*away(1000))

    def run():
        return checked(Approach(clock.environment(), breaker=policy, keep=keep), connector)

    with pytest.raises(ApplicationUnreachableError):
        run()
    assert connector.asked == 4
    with pytest.raises(ApplicationLeftAloneError, match="4 times in a row and is left alone for 60 s"):
        run()
    assert connector.asked == 4
    clock.advance(timedelta(seconds=61))
    with pytest.raises(ApplicationLeftAloneError):
        run()  # one call passes, fails, and closes the door again at once
    assert connector.asked == 5
    assert BreakerFile(keep).load().pause == 120.0
    clock.advance(timedelta(seconds=121))
    connector.errors.clear()
    assert run().version == "1"
    assert not keep.exists()
    assert run().version == "1"


def test_neither_a_torn_file_nor_a_clock_that_was_set_keeps_an_application_from_its_backup(tmp_path):
    file = BreakerFile(tmp_path / "x.breaker")
    for content in (
        "",
        "{",
        '{"failures": -1, "open_until": 0, "pause": 0}',
        '{"failures": 1, "open_until": NaN, "pause": 1}',
    ):
        (tmp_path / "x.breaker").write_text(content)
        assert file.load() == BreakerState()
    clock = ManualClock()
    file.save(BreakerState(9, clock.now().timestamp() + 10**9, 60.0))
    approach = Approach(clock.environment(), keep=tmp_path / "x.breaker")
    assert checked(approach, Checked()).version == "1"
    (tmp_path / "in the way").write_text("")
    BreakerFile(tmp_path / "in the way" / "y.breaker").save(BreakerState(1, 2.0, 3.0))

"""Which tests run under the eyes of `holdfast.testing.claim_watch`: those that make operations fail in most of the ways there are."""

from __future__ import annotations

__all__ = ["WATCHED"]

WATCHED = (
    "attacks",
    "cli",
    "integration/audit",
    "integration/mounts",
    "integration/test_cli.py",
    "integration/test_cost_of_damage.py",
    "integration/test_courier.py",
    "integration/test_damage.py",
    "integration/test_extract.py",
    "integration/test_failures.py",
    "integration/test_failures_elsewhere.py",
    "integration/test_forget_class.py",
    "integration/test_home_copy.py",
    "integration/test_keys.py",
    "integration/test_other_ways.py",
    "integration/test_partly_lost.py",
    "integration/test_protocol.py",
    "integration/test_prune.py",
    "integration/test_ransom_cli.py",
    "integration/test_refusals.py",
    "integration/test_rolled_back.py",
    "integration/test_runs.py",
    "integration/test_said_of_damage.py",
    "integration/test_tiers.py",
    "integration/test_torn.py",
)
"""Files and folders. What an operation on a vault says there after `SAFE:` is held against what is there, or the test fails."""

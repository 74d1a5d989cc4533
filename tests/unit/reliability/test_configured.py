"""What the configuration says of retry, breakers and the audit log goes over the defaults, value by value."""

from __future__ import annotations

from holdfast import config
from holdfast.reliability.breaker import BreakerPolicy
from holdfast.reliability.retry import POLICIES, RetryPolicy
from holdfast.runs.configured import breaker_policy, retry_policies, trail_options

HEAD = '[vault]\nurl = "/v"\n'


def test_without_a_word_the_defaults_hold():
    settings = config.loads(HEAD, environ={}).settings
    assert retry_policies(settings) == {kind: policy for kind, policy in POLICIES.items() if kind != "final"}
    assert breaker_policy(settings) == BreakerPolicy()
    options = trail_options(settings)
    assert (options.anchor_seconds, options.algorithm, options.site, options.collectors) == (
        3600,
        "ed25519",
        "holdfast",
        (),
    )
    assert len(options.policy) == 16


def test_every_value_goes_over_its_default_alone():
    text = HEAD + "[retry.store_throttled]\nattempts = 3\n[breaker]\nfailures = 2\nopen_seconds = 1\n"
    settings = config.loads(text, environ={}).settings
    before = POLICIES["store-throttled"]
    assert retry_policies(settings)["store-throttled"] == RetryPolicy(
        3, before.first_seconds, before.longest_seconds, before.budget_seconds
    )
    assert breaker_policy(settings) == BreakerPolicy(2, 1.0, 600.0)


def test_collectors_and_the_policy_s_digest():
    text = HEAD + '[collectors.siem]\nhost = "siem"\nkey = "file:/k"\n[audit]\nsite = "st-mary"\n'
    options = trail_options(config.loads(text, environ={}).settings)
    (collector,) = options.collectors
    assert (collector.name, collector.host, collector.port, collector.key, collector.site) == (
        "siem", "siem", 6514, "/k", "st-mary",
    )  # fmt: skip
    assert options.policy != trail_options(config.loads(HEAD, environ={}).settings).policy

"""Rust and Python agree on errors: every code that Rust can raise has its place in the Python tree, and no other is known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast import engine, errors

ROOT = Path(__file__).resolve().parents[2]
RUST = {
    "damaged": (engine.DamageError, errors.DamageError),
    "unknown-version": (engine.EngineError, errors.VersionError),
    "limit-exceeded": (engine.LimitError, errors.LimitError),
    "wrong-key": (engine.WrongKeyError, errors.WrongKeyError),
    "misuse": (engine.EngineError, errors.InternalError),
    "missing": (engine.DamageError, errors.DamageError),
    "io": (engine.IoError, errors.StoreUnreachableError),
    "outside": (engine.EngineError, errors.InternalError),
    "stopped": (engine.StoppedError, errors.Interrupted),
    "exists": (engine.EngineError, errors.InternalError),
    "bad-plan": (engine.EngineError, errors.InternalError),
    "internal": (engine.EngineError, errors.InternalError),
}
"""Rust's codes: the exception that the extension raises, and the one that a caller of Holdfast sees."""


def test_every_code_in_the_rust_sources_is_in_the_table_and_the_other_way_round():
    engine_codes = re.findall(r'=> "([a-z-]+)"', (ROOT / "crates/engine/src/error.rs").read_text())
    binding = (ROOT / "crates/python/src/errors.rs").read_text()
    binding_codes = re.findall(r'with_attributes\(\s*\w+::new_err\([^"]*?"([a-z-]+)"', binding)
    assert len(engine_codes) > 5
    assert len(binding_codes) > 4
    assert {*engine_codes, *binding_codes} == RUST.keys()


def test_every_variant_of_the_pipeline_s_error_is_converted():
    variants = re.findall(
        r"^    ([A-Z]\w+)", (ROOT / "crates/pipeline/src/error.rs").read_text().split("impl")[0], re.MULTILINE
    )
    binding = (ROOT / "crates/python/src/errors.rs").read_text()
    assert len(variants) > 5
    for variant in variants:
        assert f"pipeline::Error::{variant}" in binding, variant


@pytest.mark.parametrize("code", sorted(RUST))
def test_a_rust_error_becomes_its_python_error_with_three_lines_and_its_code(code):
    raised, expected = RUST[code]
    error = raised("what happened")
    error.__dict__.update(code=code, errno=5)
    found = engine.translate(error)
    assert type(found) is expected
    assert len(str(found).split("\n")) == 3
    if expected is not errors.Interrupted:
        assert found.facts["engine"] == code
    assert issubclass(raised, engine.EngineError)


def test_a_pack_that_is_not_there_is_an_object_that_is_missing():
    error = engine.IoError("open: errno 2")
    error.__dict__.update(code="io", errno=2)
    assert type(engine.translate(error)) is errors.ObjectMissingError


def test_every_python_error_has_a_safety_and_a_retry_that_fit():
    for cls in errors.error_classes():
        if cls.safety is errors.Safety.AT_RISK:
            assert cls.retry is errors.Retry.NEVER or cls.exit_code == 4
        if issubclass(cls, errors.UsageError):
            assert cls.safety is errors.Safety.UNTOUCHED
            assert cls.retry is errors.Retry.NEVER

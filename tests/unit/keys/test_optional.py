"""A library that is not installed is said in three lines, with the extra that brings it."""

from __future__ import annotations

import sys

import pytest

from holdfast.base.environment import Environment
from holdfast.errors import DriverMissingError
from holdfast.repository.key_services import key_service, secret_in
from holdfast.repository.shares import split


def test_the_extra_is_named(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shamir_mnemonic", None)
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(DriverMissingError) as shares:
        split(2, 3, env)
    assert "holdfast[shares]" in shares.value.next
    service = key_service("pkcs11:token=t;object=k?module-path=/m&pin-source=env:PIN", env)
    with pytest.raises(DriverMissingError) as token:
        service.seal(b"s" * 32, b"")
    assert "holdfast[hsm]" in token.value.next


def test_what_was_sealed_for_another_vault_is_refused() -> None:
    from holdfast.errors import KeyServiceError

    with pytest.raises(KeyServiceError, match="another vault"):
        secret_in(b"s" * 64, b"context")

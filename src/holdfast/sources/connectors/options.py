"""The options of one application, checked: what is not declared is refused, so that a slip of the pen is never silent."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from holdfast.config.secrets import SecretRef
from holdfast.errors import ConfigError
from holdfast.sources.connectors.protocol import Connection

__all__ = ["arguments_of", "connection_of", "needed", "options_of", "password_of"]


def options_of(connection: Connection, declared: Mapping[str, str]) -> dict[str, str]:
    """Return the options, with the declared defaults. `ConfigError` names those that the connector does not know."""
    unknown = sorted(set(connection.options) - set(declared))
    if unknown:
        raise ConfigError(
            f"the application {connection.name} has options that its connector does not know",
            problems=tuple(f"{key}; there are: {', '.join(sorted(declared))}" for key in unknown),
        )
    return {**declared, **connection.options}


def needed(connection: Connection, *fields: str) -> None:
    """Raise `ConfigError` for settings that the connector cannot do without."""
    missing = [field for field in fields if not getattr(connection, field)]
    if missing:
        raise ConfigError(
            f"the application {connection.name} lacks settings",
            problems=tuple(f"{field} is missing" for field in missing),
        )


def password_of(connection: Connection) -> str:
    """Return the account's password, read now and kept nowhere; empty where the system vouches for the account."""
    return "" if connection.password is None else connection.password.reveal(os.environ)


def arguments_of(connection: Connection) -> tuple[str, ...]:
    """Return what a watchdog's program needs to log in, as its arguments: the reference to the password, never the password."""
    return (
        connection.host,
        str(connection.port),
        connection.database,
        connection.user,
        str(connection.password or ""),
    )


def connection_of(arguments: Sequence[str]) -> Connection:
    """Return the connection that :func:`arguments_of` wrote down. `ValueError` for anything else."""
    host, port, database, user, password = arguments
    secret = SecretRef.parse(password) if password else None
    return Connection("watchdog", host, int(port), user, secret, database)

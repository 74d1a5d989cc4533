"""Options that many commands share, and the vault they lead to."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from holdfast.base.events import Events, ignore
from holdfast.base.values import dataclass
from holdfast.cli.output import Output
from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.config import Config
    from holdfast.runs.configured import Access
    from holdfast.runs.keyless import KeylessReport
    from holdfast.runs.vault import Vault

__all__ = ["Duration", "Place", "Size", "output_options", "vault_options"]

ASK = "ask"


class Size(click.ParamType[int]):
    """A number of bytes: `64MiB`, `500MB`, `4096`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - as click
        """Read it; a usage error otherwise."""
        from holdfast.base.units import parse_bytes

        try:
            return value if isinstance(value, int) else parse_bytes(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[int]):
    """A duration in seconds: `90s`, `15m`, `7d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401 - as click
        """Read it; a usage error otherwise."""
        from holdfast.base.units import parse_seconds

        try:
            return value if isinstance(value, int) else parse_seconds(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True, slots=True)
class Place:
    """Which vault was asked for, and how it is opened: options before variables before the configuration."""

    vault: str | None
    key_file: str | None
    passphrase: str | None
    credential: str | None
    config: str | None
    shares: tuple[str, ...] = ()
    key_service: str | None = None
    hear: Events = ignore
    """Who hears the alerts that no callback of a command is there for."""

    def only(self, *, key_file: str | None) -> Place:
        """Return the same vault, opened by this key file, or by the shares, and by nothing else that was named."""
        return replace(self, key_file=key_file, passphrase=None, credential=None, key_service=None)

    def load(self) -> Config | None:
        """Return the configuration, if one was named. Options go over it as the variables of the same meaning do."""
        if self.config is None:
            return None
        from holdfast import config
        from holdfast.runs.configured import faults_of_policies

        given = {"HOLDFAST_VAULT": self.vault, "HOLDFAST_KEY_FILE": self.key_file}
        environ = {**os.environ, **{name: value for name, value in given.items() if value}}
        return config.load(self.config, environ, further=faults_of_policies)

    def configuration(self) -> Config:
        """Return the configuration. `UsageError` if none was named."""
        found = self.load()
        if found is None:
            raise UsageError("no configuration was named", next="give --config FILE (or HOLDFAST_CONFIG).")
        return found

    def access(self, config: Config | None = None, *, confirm: bool = False) -> Access:
        """Return the arguments that open the vault. `UsageError` if none was named."""
        from holdfast.runs.configured import Access, access

        config = config or self.load()
        found = access(config, os.environ) if config is not None else Access(self._url())
        given = (self.key_file, self.secret(confirm=confirm), self.credential)
        if not any(given) and not self.shares and not self.key_service:
            return found
        # A secret that is named goes before the configured one, of whatever kind either is.
        return replace(
            found,
            key_file=given[0],
            passphrase=given[1],
            credential=given[2],
            shares=self.shares,
            key_service=self.key_service,
        )

    def open(self, config: Config | None = None) -> Vault:
        """Open the vault. `UsageError` if none was named; else what `Vault.open` raises."""
        import holdfast

        config = config or self.load()
        found = self.access(config)
        more: dict[str, Any] = {"config": config} if config is not None else {}
        vault = holdfast.Vault.open(
            found.url,
            key_file=found.key_file,
            passphrase=found.passphrase,
            credential=found.credential,
            shares=found.shares,
            key_service=found.key_service,
            stores=found.stores,
            tiers=found.tiers,
            **more,
        )
        vault.listen(self.hear)
        return vault

    def check_without_key(self, *, packs: bool, limit_read: int | None, events: Events) -> KeylessReport:
        """Check the store named without any secret: what `check_without_key` raises."""
        import holdfast
        from holdfast.runs.configured import limits

        config = self.load()
        general = limits(config.settings) if config is not None else holdfast.Limits()
        return holdfast.check_without_key(
            config.settings.vault.url if config is not None else self._url(),
            packs=packs,
            stores=config.settings.stores if config is not None else None,
            limits=replace(general, read_bytes_per_s=limit_read or general.read_bytes_per_s),
            events=events,
        )

    def promote(self, old: str | None) -> int:
        """Make the store named the vault's home; return the epoch. What `promote_home` raises."""
        import holdfast

        found = self.access()
        return holdfast.promote_home(
            found.url, key_file=found.key_file, passphrase=found.passphrase, old=old, stores=found.stores
        )

    def _url(self) -> str:
        if not self.vault:
            raise UsageError(
                "no vault was named",
                next="give --vault DIR (or HOLDFAST_VAULT), or --config FILE (or HOLDFAST_CONFIG).",
            )
        return self.vault

    def secret(self, *, confirm: bool) -> str | None:
        """Return the passphrase, asked for on the terminal or read from where the option refers to."""
        if self.passphrase is None:
            return None
        if self.passphrase == ASK:
            asked: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, err=True)
            return asked
        from holdfast.config import SecretRef

        try:
            return SecretRef.parse(self.passphrase).reveal(os.environ)
        except ValueError as error:
            raise UsageError(str(error)) from None


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json`, `--quiet` and `--show-paths`; the command gets an `out`."""

    @click.option("--json", "as_json", is_flag=True, help="Print JSON lines, as docs/cli.md describes them.")
    @click.option(
        "-q", "--quiet", is_flag=True, help="Print no progress and no summary; alerts are printed all the same."
    )
    @click.option(
        "--show-paths/--no-show-paths",
        default=None,
        help="Name files in findings; by default on a terminal only, elsewhere a digest stands for each.",
    )
    @functools.wraps(function)
    def wrapped(*args: Any, as_json: bool, quiet: bool, show_paths: bool | None, **kwargs: Any) -> object:  # noqa: ANN401 - as click
        return function(*args, out=Output(as_json=as_json, quiet=quiet, show_paths=show_paths), **kwargs)

    return wrapped


def vault_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a vault and its key; the command gets a `place`. Includes :func:`output_options`."""

    @click.option("--vault", envvar="HOLDFAST_VAULT", metavar="DIR", help="The vault. Variable: HOLDFAST_VAULT.")
    @click.option(
        "--key-file", envvar="HOLDFAST_KEY_FILE", metavar="FILE", help="Its key file. Variable: HOLDFAST_KEY_FILE."
    )
    @click.option(
        "--passphrase", metavar="REF", help="Its passphrase: `file:PATH`, `env:NAME`, or `ask` on the terminal."
    )
    @click.option(
        "--credential",
        envvar="HOLDFAST_CREDENTIAL",
        metavar="FILE",
        help="A role's credential: a writer's adds backups, reads none. Variable: HOLDFAST_CREDENTIAL.",
    )
    @click.option(
        "--share", "shares", multiple=True, metavar="FILE", help="A sheet of its shares; give enough of them."
    )
    @click.option(
        "--key-service",
        envvar="HOLDFAST_KEY_SERVICE",
        metavar="URI",
        help="A token or engine that holds its key: `pkcs11:…`, `transit:…`. Variable: HOLDFAST_KEY_SERVICE.",
    )
    @click.option(
        "--config", envvar="HOLDFAST_CONFIG", metavar="FILE", help="A configuration. Variable: HOLDFAST_CONFIG."
    )
    @functools.wraps(function)
    def wrapped(
        *args: Any,  # noqa: ANN401 - as click
        vault: str | None,
        key_file: str | None,
        passphrase: str | None,
        credential: str | None,
        config: str | None,
        shares: tuple[str, ...],
        key_service: str | None,
        **kwargs: Any,  # noqa: ANN401 - as click
    ) -> object:
        out: Output = kwargs["out"]
        out.config = config or ""
        place = Place(vault, key_file, passphrase, credential, config, shares, key_service, out.hear)
        return function(*args, place=place, **kwargs)

    return output_options(wrapped)

"""Chat and pager services through `apprise`, in a process of its own: it loads much, and a service may hang.

The address, which often is a token, goes to the child on its standard input, never on its command line. Inside an air-gapped
network: Matrix, Mattermost, Rocket.Chat, Gotify, ntfy, Nextcloud Talk and others on the site's own servers.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import sys
from collections.abc import Mapping

from holdfast.base.environment import Environment
from holdfast.config import ChannelSettings
from holdfast.errors import ChannelDriverMissingError, ChannelError, ConfigError, Safety
from holdfast.reliability.notify.command import run_with_input
from holdfast.reliability.notify.protocol import Message, Receipt

__all__ = ["Chat", "main", "make"]

_KINDS = {Safety.UNTOUCHED: "info", Safety.INTACT: "warning", Safety.DEGRADED: "failure", Safety.AT_RISK: "failure"}


class Chat:
    """A service that `apprise` knows, by its address. The receipt says that the service took the message."""

    def __init__(self, name: str, settings: ChannelSettings, environ: Mapping[str, str]) -> None:
        """Read the address. `ConfigError` if it is empty."""
        self.name = name
        self._settings = settings
        self._url = settings.url.reveal(environ).strip() if settings.url else ""
        if "://" not in self._url:
            raise ConfigError(f"the address of the channel {name} is none that apprise knows")

    def send(self, message: Message) -> Receipt:
        """Hand it to the child and wait for it."""
        if importlib.util.find_spec("apprise") is None:
            raise ChannelDriverMissingError("a channel of kind chat needs `apprise`")
        given = {
            "url": self._url,
            "title": message.subject,
            "body": message.body,
            "kind": "success" if message.kind == "resolved" else _KINDS[message.safety],
        }
        command = (sys.executable, "-m", __name__)
        out = run_with_input(
            command, json.dumps(given).encode(), self._settings.timeout_seconds, f"the service of {self.name}"
        )
        if out.strip() != b"sent":
            raise ChannelError(f"the service of {self.name} did not take the message")
        return Receipt("accepted by the service")


def make(name: str, settings: ChannelSettings, environ: Mapping[str, str], _env: Environment) -> Chat:
    """Make the channel."""
    return Chat(name, settings, environ)


def main() -> int:
    """Be the child: read what to send from standard input, print `sent` or `refused`."""
    import apprise

    logging.disable(logging.CRITICAL)
    given = json.load(sys.stdin)
    service = apprise.Apprise()
    sent = service.add(given["url"]) and service.notify(
        title=given["title"], body=given["body"], notify_type=apprise.NotifyType(given["kind"])
    )
    sys.stdout.write("sent\n" if sent else "refused\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

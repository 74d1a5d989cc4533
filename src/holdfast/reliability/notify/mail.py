"""Mail by SMTP (RFC 5321), in the clear, with STARTTLS or over TLS."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import format_datetime

from holdfast.base.environment import Environment
from holdfast.config import ChannelSettings
from holdfast.errors import ChannelError, RecipientMissingError, Safety
from holdfast.reliability.notify.protocol import Message, Receipt
from holdfast.reliability.notify.tls import trust

__all__ = ["Mail", "make"]

_PORTS = {"none": 25, "starttls": 587, "tls": 465}


class Mail:
    """A mail server. The receipt is the message's id, once the server has accepted it for every recipient."""

    def __init__(self, name: str, settings: ChannelSettings, environ: Mapping[str, str], env: Environment) -> None:
        """Read the password, if there is one; nothing is contacted."""
        self.name = name
        self._settings = settings
        self._password = settings.password.reveal(environ) if settings.password else ""
        self._env = env

    def send(self, message: Message) -> Receipt:
        """Send it to the contact's address, else to the channel's recipients. `RecipientMissingError` if there are none."""
        if not (message.address or self._settings.recipients):
            raise RecipientMissingError(f"the channel {self.name} has no recipient for the message")
        letter = self._letter(message)
        try:
            with self._connect() as server:
                if self._settings.username:
                    server.login(self._settings.username, self._password)
                refused = server.send_message(letter)
        except (OSError, smtplib.SMTPException) as error:
            raise ChannelError(f"the mail server of {self.name} did not take the message: {_reason(error)}") from None
        if refused:
            raise ChannelError(f"the mail server of {self.name} refused {len(refused)} recipients")
        return Receipt(letter["Message-ID"])

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        port = settings.port or _PORTS[settings.security]
        # Left to itself, `smtplib` asks the resolver for this host's full name, which takes half a minute where there is none.
        own = socket.gethostname()
        if settings.security == "tls":
            return smtplib.SMTP_SSL(settings.host, port, own, timeout=settings.timeout_seconds, context=self._trust())
        server = smtplib.SMTP(settings.host, port, own, timeout=settings.timeout_seconds)
        if settings.security == "starttls":
            try:
                server.starttls(context=self._trust())
            except BaseException:
                server.close()
                raise
        return server

    def _trust(self) -> ssl.SSLContext:
        return trust(self._settings.ca_file)

    def _letter(self, message: Message) -> EmailMessage:
        letter = EmailMessage()
        letter["From"] = self._settings.sender
        letter["To"] = message.address or ", ".join(self._settings.recipients)
        letter["Subject"] = message.subject
        letter["Date"] = format_datetime(message.at)
        letter["Message-ID"] = f"<{self._env.random_id()}@{self._settings.sender.rpartition('@')[2] or 'holdfast'}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter["X-Holdfast-Alerts"] = " ".join(map(str, message.numbers)) or "none"
        if message.safety in (Safety.DEGRADED, Safety.AT_RISK):
            letter["Importance"] = "high"
        letter.set_content(message.body)
        return letter


def _reason(error: Exception) -> str:
    """Name the failure without the server's own words, which may repeat an address."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"SMTP code {error.smtp_code}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__


def make(name: str, settings: ChannelSettings, environ: Mapping[str, str], env: Environment) -> Mail:
    """Make the channel."""
    return Mail(name, settings, environ, env)

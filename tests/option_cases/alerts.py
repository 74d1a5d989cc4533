"""Options of alerts: channels, contacts, escalation."""

from __future__ import annotations

from holdfast import config
from option_cases import HEAD

CHANNEL = HEAD + '[channels.a]\nkind = "file"\npath = "/x"\n'
CONTACT = CHANNEL + '[contacts.a]\nchannels = ["a"]\n'
LEVEL = CONTACT + '[[escalation.levels]]\ncontacts = ["a"]\n'
ROWS = CONTACT + '[escalation]\nlevels = [{ contacts = ["a"] }, { contacts = ["a"] }]\n[[escalation.rows]]\n'
MAIL = HEAD + '[channels.a]\nkind = "mail"\nhost = "h"\nsender = "x@y"\n'
ALERTS = HEAD + "[alerts]\n"

CASES: dict[str, tuple[str, object]] = {
    "alerts.site": (ALERTS + 'site = "North"', "North"),
    "alerts.zone": (ALERTS + 'zone = "Europe/Berlin"', "Europe/Berlin"),
    "alerts.quiet_hours": (ALERTS + 'quiet_hours = ["22:00-06:00"]', ("22:00-06:00",)),
    "alerts.acknowledged_seconds": (ALERTS + 'acknowledged_seconds = "4h"', 14_400),
    "alerts.quiet_return_seconds": (ALERTS + 'quiet_return_seconds = "10m"', 600),
    "alerts.collected_above": (ALERTS + "collected_above = 9", 9),
    "alerts.messages_per_hour": (ALERTS + "messages_per_hour = 60", 60),
    "alerts.retry_seconds": (ALERTS + 'retry_seconds = "5m"', 300),
    "alerts.heartbeat_channel": (CHANNEL + '[alerts]\nheartbeat_channel = "a"', "a"),
    "alerts.heartbeat_seconds": (ALERTS + 'heartbeat_seconds = "5m"', 300),
    "alerts.reply_folder": (ALERTS + 'reply_folder = "/replies"', "/replies"),
    "alerts.digest_contacts": (CONTACT + '[alerts]\ndigest_contacts = ["a"]', ("a",)),
    "alerts.keep_days": (ALERTS + "keep_days = 30", 30),
    "contacts.*.role": (CONTACT + 'role = "on call"', "on call"),
    "contacts.*.channels": (CONTACT.replace('["a"]', '["a", "a"]'), ("a", "a")),
    "contacts.*.every_channel": (CONTACT + "every_channel = true", True),
    "contacts.*.address": (CONTACT + 'address = "x@y"', "x@y"),
    "contacts.*.quiet_hours": (CONTACT + 'quiet_hours = ["Sat,Sun 00:00-24:00"]', ("Sat,Sun 00:00-24:00",)),
    "contacts.*.public_key": (CONTACT + f'public_key = "{"ab" * 32}"', "ab" * 32),
    "channels.*.kind": (CHANNEL, "file"),
    "channels.*.host": (MAIL, "h"),
    "channels.*.port": (MAIL + "port = 25", 25),
    "channels.*.security": (MAIL + 'security = "tls"', "tls"),
    "channels.*.sender": (MAIL, "x@y"),
    "channels.*.recipients": (MAIL + 'recipients = ["z@y"]', ("z@y",)),
    "channels.*.username": (MAIL + 'username = "u"', "u"),
    "channels.*.password": (MAIL + 'password = "env:P"', config.SecretRef("env", "P")),
    "channels.*.privacy": (MAIL + 'privacy = "env:P"', config.SecretRef("env", "P")),
    "channels.*.community": (
        HEAD + '[channels.a]\nkind = "snmp"\nhost = "h"\ncommunity = "file:/c"',
        config.SecretRef("file", "/c"),
    ),
    "channels.*.oid": (HEAD + '[channels.a]\nkind = "snmp"\nhost = "h"\noid = "1.3.6.1.4.1.7"', "1.3.6.1.4.1.7"),
    "channels.*.transport": (HEAD + '[channels.a]\nkind = "syslog"\npath = "/dev/log"\ntransport = "unix"', "unix"),
    "channels.*.facility": (HEAD + '[channels.a]\nkind = "syslog"\nhost = "h"\nfacility = 16', 16),
    "channels.*.url": (HEAD + '[channels.a]\nkind = "chat"\nurl = "env:U"', config.SecretRef("env", "U")),
    "channels.*.key": (
        HEAD + '[channels.a]\nkind = "webhook"\nurl = "env:U"\nkey = "env:K"',
        config.SecretRef("env", "K"),
    ),
    "channels.*.ca_file": (CHANNEL + 'ca_file = "/ca.pem"', "/ca.pem"),
    "channels.*.path": (CHANNEL, "/x"),
    "channels.*.command": (HEAD + '[channels.a]\nkind = "command"\ncommand = ["sms", "-"]', ("sms", "-")),
    "channels.*.timeout_seconds": (CHANNEL + "timeout_seconds = 3", 3),
    "channels.*.attempts": (CHANNEL + "attempts = 5", 5),
    "escalation.levels.*.contacts": (LEVEL, ("a",)),
    "escalation.levels.*.after_seconds": (LEVEL + 'after_seconds = "1h"', 3600),
    "escalation.levels.*.repeat_seconds": (LEVEL + 'repeat_seconds = "2h"', 7200),
    "escalation.rows.*.safety": (ROWS + 'safety = "at risk"\nretry = "later"', "at risk"),
    "escalation.rows.*.retry": (ROWS + 'safety = "at risk"\nretry = "later"', "later"),
    "escalation.rows.*.first_level": (ROWS + 'safety = "at risk"\nretry = "later"\nfirst_level = 2', 2),
    "escalation.rows.*.last_level": (ROWS + 'safety = "at risk"\nretry = "later"\nlast_level = 1', 1),
    "escalation.rows.*.patience_seconds": (
        ROWS + 'safety = "intact"\nretry = "later"\npatience_seconds = "4h"',
        14_400,
    ),
}

"""Options of stores."""

from __future__ import annotations

from holdfast import config
from option_cases import HEAD

_STORE = HEAD + '[stores.a]\nurl = "s3://b/p"\n'


def _secret(name: str) -> tuple[str, object]:
    return _STORE + f'{name} = "env:S"', config.SecretRef("env", "S")


CASES: dict[str, tuple[str, object]] = {
    "stores.*.url": (HEAD + '[stores.a]\nurl = "sftp://u@h/p"', "sftp://u@h/p"),
    "stores.*.endpoint": (_STORE + 'endpoint = "https://s3.example"', "https://s3.example"),
    "stores.*.region": (_STORE + 'region = "eu-1"', "eu-1"),
    "stores.*.path_style": (_STORE + "path_style = true", True),
    "stores.*.account": (_STORE + 'account = "hospital"', "hospital"),
    "stores.*.credentials": (_STORE + 'credentials = "instance"', "instance"),
    "stores.*.access_key_id": _secret("access_key_id"),
    "stores.*.secret_access_key": _secret("secret_access_key"),
    "stores.*.session_token": _secret("session_token"),
    "stores.*.account_key": _secret("account_key"),
    "stores.*.sas_token": _secret("sas_token"),
    "stores.*.service_account": _secret("service_account"),
    "stores.*.username": _secret("username"),
    "stores.*.password": _secret("password"),
    "stores.*.private_key": _secret("private_key"),
    "stores.*.known_hosts": (_STORE + 'known_hosts = "/etc/ssh/known"', "/etc/ssh/known"),
    "stores.*.ca_file": (_STORE + 'ca_file = "/etc/ssl/own.pem"', "/etc/ssl/own.pem"),
    "stores.*.proxy": (_STORE + 'proxy = "http://proxy:3128"', "http://proxy:3128"),
    "stores.*.storage_class": (_STORE + 'storage_class = "GLACIER"', "GLACIER"),
    "stores.*.object_lock": (_STORE + 'object_lock = "compliance"', "compliance"),
    "stores.*.capacity_bytes": (_STORE + 'capacity_bytes = "2TB"', 2 * 10**12),
    "stores.*.concurrency": (_STORE + "concurrency = 3", 3),
    "stores.*.attempts": (_STORE + "attempts = 2", 2),
    "stores.*.connect_timeout_seconds": (_STORE + 'connect_timeout_seconds = "5s"', 5),
    "stores.*.timeout_seconds": (_STORE + 'timeout_seconds = "2m"', 120),
    "stores.*.write_bytes_per_s": (_STORE + 'write_bytes_per_s = "10MB"', 10_000_000),
    "stores.*.read_bytes_per_s": (_STORE + 'read_bytes_per_s = "20MB"', 20_000_000),
    "stores.*.unsafe_plain_http": (_STORE + "unsafe_plain_http = true", True),
}

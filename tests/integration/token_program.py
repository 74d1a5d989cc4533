"""What the test of a PKCS#11 token runs in a process of its own: VAULT KEY_FILE MODULE PIN_FILE; prints what it saw."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pkcs11

import holdfast
from holdfast.errors import HoldfastError


def refused(vault: str, uri: str) -> str:
    """Return the code of the error that opening by a URI ends with."""
    try:
        holdfast.Vault.open(vault, key_service=uri).close()
    except HoldfastError as error:
        return error.code
    return ""


def main() -> None:
    """Add a key of each kind, open by each, rotate, and be refused."""
    vault, key_file, module, pin = sys.argv[1:]
    uris = {
        name: f"pkcs11:token=holdfast;object={name}?module-path={module}&pin-source=file:{pin}"
        for name in ("aes", "rsa")
    }
    token = pkcs11.lib(module).get_token(token_label="holdfast")
    with token.open(user_pin=Path(pin).read_text(), rw=True) as session:
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, label="rsa", store=True)
        session.generate_key(pkcs11.KeyType.AES, 256, label="other", store=True)
    seen: dict[str, object] = {}
    with holdfast.Vault.open(vault, key_file=key_file) as opened:
        opened.add_key_service(uris["aes"], label="aes", create=True)
        opened.add_key_service(uris["rsa"], label="rsa")
        home = opened._vault.repository.home
        from holdfast.repository.wraps import read_wraps

        seen |= {w.body.label: w.body.shape[0].mechanism for w in read_wraps(home) if w.body.method == "pkcs11"}
    seen["opened"] = sum(not refused(vault, uri) for uri in uris.values())
    with holdfast.Vault.open(vault, key_service=uris["aes"]) as opened:
        opened.rotate_root()
    seen["after rotation"] = sum(not refused(vault, uri) for uri in uris.values())
    wrong = Path(pin).with_suffix(".wrong")
    wrong.write_text("0000")
    seen["wrong pin"] = refused(vault, uris["aes"].replace(f"file:{pin}", f"file:{wrong}"))
    seen["no such token"] = refused(vault, uris["aes"].replace("token=holdfast", "token=none"))
    seen["other key"] = refused(vault, uris["aes"].replace("object=aes", "object=other"))
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main()

"""Give a host a credential that can add backups and read nothing, and back up with it.

python examples/enroll.py VAULT KEY_FILE CREDENTIAL FOLDER
"""

import os
import sys

import holdfast


def main(vault_path: str, key_file: str, credential: str, folder: str) -> int:
    """Make the credential with the vault's key, then use it as the host would."""
    with holdfast.Vault.open(vault_path, key_file=key_file) as vault:
        secret = vault.enroll_writer("ward-7")
    with os.fdopen(os.open(credential, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
    with holdfast.Vault.open(vault_path, credential=credential) as vault:
        return vault.backup([folder], label="ward-7").exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

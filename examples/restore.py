"""Restore the newest snapshot, or some paths of it. Every byte is verified on its way.

python examples/restore.py VAULT KEY_FILE TARGET [PATH ...]
"""

import sys

import holdfast


def main(vault_path: str, key_file: str, target: str, *paths: str) -> int:
    """Return 0 if all of it is there, 3 if something is missing, 4 if the vault is damaged."""
    with holdfast.Vault.open(vault_path, key_file=key_file) as vault:
        result = vault.snapshot("latest").restore(target, include=paths)
        print(f"{result.files} files restored, {len(result.findings)} findings")
        return result.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

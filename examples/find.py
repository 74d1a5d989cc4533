"""Find files by name over all snapshots, and the versions of the first one found.

python examples/find.py VAULT KEY_FILE PATTERN
"""

import os
import sys

import holdfast


def main(vault_path: str, key_file: str, pattern: str) -> int:
    """Return 0 if something was found, else 5."""
    with holdfast.Vault.open(vault_path, key_file=key_file) as vault:
        found = list(vault.find(pattern))
        for one in found:
            print(one.snapshot[:8], os.fsdecode(one.entry.path), one.entry.size)
        for version in vault.versions(found[0].entry.path) if found else ():
            print("version of", version.finished, version.entry.size)
        return 0 if found else 5


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

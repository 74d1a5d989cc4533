"""Say what changed between the last two snapshots. Costs what the change costs, however large the tree is.

python examples/diff.py VAULT KEY_FILE
"""

import os
import sys

import holdfast


def main(vault_path: str, key_file: str) -> int:
    """Print one line for each difference."""
    with holdfast.Vault.open(vault_path, key_file=key_file) as vault:
        before, after = list(vault.snapshots())[-2:]
        for change in before.diff(after):
            print(change.kind, os.fsdecode(change.path))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

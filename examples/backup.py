"""Back up a folder, and say what could not be read. The vault is made at the first call.

python examples/backup.py VAULT KEY_FILE FOLDER
"""

import sys
from pathlib import Path

import holdfast


def main(vault_path: str, key_file: str, folder: str) -> int:
    """Return the exit code that the command line would: 0 complete, 3 partial."""
    if Path(vault_path, "vault").exists():
        vault = holdfast.Vault.open(vault_path, key_file=key_file)
    else:
        vault = holdfast.Vault.create(vault_path, key_file=key_file)
    with vault:
        result = vault.backup([folder], label="example")
        for finding in result.findings:
            print(f"{finding.kind}: {finding.detail}")
        print(f"{result.stats.files} files, {result.stats.new_bytes} bytes new")
        return result.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

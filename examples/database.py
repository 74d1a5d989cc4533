"""Back up a live SQLite database as a stream: a copy of one moment, never the file that is being written.

python examples/database.py VAULT KEY_FILE DATABASE
"""

import sys

import holdfast

DUMP = "import sqlite3, sys; c = sqlite3.connect(':memory:'); sqlite3.connect(sys.argv[1]).backup(c)"
DUMP += "; sys.stdout.buffer.write(c.serialize())"


def main(vault_path: str, key_file: str, database: str) -> int:
    """Return 0 if the copy is stored; a command that fails makes no file, and the run is partial."""
    stream = holdfast.Stream("databases/ehr.sqlite", (sys.executable, "-c", DUMP, database), class_name="database")
    with holdfast.Vault.open(vault_path, key_file=key_file) as vault:
        return vault.backup([], label="ehr", options=holdfast.BackupOptions(streams=(stream,))).exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

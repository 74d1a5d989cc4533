"""Write what the far side does not have onto a disk, and take it into a vault there, as across an air gap.

python examples/courier.py VAULT KEY_FILE DISK FAR_VAULT
"""

import sys
from pathlib import Path

import holdfast


def main(vault_path: str, key_file: str, disk: str, far_vault: str) -> int:
    """Return 0 if the far side has everything, 3 if the set needs another disk."""
    with holdfast.Vault.open(vault_path, key_file=key_file) as vault:
        courier = vault.courier()
        sent = courier.export(disk)
        if sent.left:
            print(f"{sent.left} objects need another disk")
            return sent.exit_code
        for got in holdfast.courier_import(disk, far_vault):  # the far side does this; it needs no key
            print(f"set {got.set}: {got.objects} objects at the far side")
        for receipt in (Path(disk) / "receipts").iterdir():
            courier.receipt(receipt)
        return courier.status().exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Check the structure of a vault, then read every pack back and prove it.

python examples/verify.py VAULT KEY_FILE
"""

import sys

import holdfast


def main(vault_path: str, key_file: str) -> int:
    """Return 0 if all is sound, 4 if damage was found."""
    with holdfast.Vault.open(vault_path, key_file=key_file) as vault:
        structure = vault.check()
        for problem in structure.problems:
            print(problem)
        proof = vault.verify()
        for pack in proof.damaged:
            print(f"pack {pack.pack}: {pack.reason}, {pack.files} files need it")
        print(f"{proof.packs} packs, {proof.bytes} bytes read")
        return max(structure.exit_code, proof.exit_code)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Keep a week of days and a year of months; give back the space of the rest.

python examples/forget.py VAULT KEY_FILE
"""

import sys

import holdfast


def main(vault_path: str, key_file: str) -> int:
    """Forget by rules, then take the next safe step of a prune: space comes back after the undo delay."""
    rules = holdfast.RetentionPolicy(last=3, daily=7, monthly=12)
    with holdfast.Vault.open(vault_path, key_file=key_file) as vault:
        for decision in vault.plan_forget(rules).decisions:
            print(decision.snapshot[:8], "keep" if decision.keep else "forget", ", ".join(decision.reasons))
        vault.forget(rules, reason="the example's rules")
        result = vault.prune()
        print(f"prune: {result.phase}, {result.packs_condemned} packs to go")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""The access policy as callers hold it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.repository.access import AccessPolicy, check_policy, put_policy, read_policy
from holdfast.runs.approvals import authorise, find_statements, folder_of
from holdfast.runs.operations import operation

if TYPE_CHECKING:
    from holdfast.runs.assembly import OpenVault

__all__ = ["Approvals"]


class Approvals:
    """The access policy of a vault, and this host's folder of requests and statements."""

    def __init__(self, vault: OpenVault) -> None:
        """Use `Vault.approvals`."""
        self._vault = vault

    @property
    def folder(self) -> str:
        """Where requests are written, and people's statements are put."""
        return str(folder_of(self._vault))

    @property
    def policy(self) -> AccessPolicy:
        """The policy in force; without one nothing needs approval. `DamageError` if it cannot be read."""
        return read_policy(self._vault.repository.home)

    def set_policy(self, policy: AccessPolicy) -> AccessPolicy:
        """Put a policy, with the approvals that the one in force demands; return the one in force then.

        `ApprovalMissingError`, `UsageError` (nobody could ever satisfy it), `NotPermittedError` without the root key.
        """
        check_policy(policy)
        vault = self._vault
        with operation(vault, "access", approvers=len(policy.approvers), required=policy.required):
            what = policy.digest()
            _, statements = find_statements(vault, "access", what)
            authorise(vault, "access", what)
            put_policy(vault.repository, replace(policy, approvals=tuple(each.encode() for each in statements)))
        return self.policy

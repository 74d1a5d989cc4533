"""Whose signature counts for what: certificates, keys that were replaced, hosts that joined (``docs/format/keys.md``)."""

from __future__ import annotations

import os

import rescue_format as f


class Signers:
    """The keys of everybody that root certified, and what their signatures are worth."""

    def __init__(self, root_public: bytes, vault: str, folder: str, own_writer: str) -> None:
        self.root_public, self.vault, self.folder, self.own_writer = root_public, vault, folder, own_writer
        self.keys = {"root": [root_public]}
        self.former: dict[str, list[f.Body]] = {}
        self.roles: dict[str, str] = {}
        self.enrolled: dict[str, list[bytes]] = {}
        self.revoked: dict[str, list[str]] = {}

    def _get(self, name: str) -> bytes:
        try:
            with open(os.path.join(self.folder, name), "rb") as stream:
                return stream.read(f.CONTROL_BYTES_MAX + 1)
        except OSError as failure:
            raise f.Damage(f"{name}: cannot be read ({failure.strerror})") from failure

    def read_certificate(self, what: str, writer: str, data: bytes) -> None:
        """Take a certificate in; they come in their order, and the last counts."""
        control = f.parse_control(data, "writer", self.vault, what)
        if not control.signed_by(self.root_public) or control.body.get("id") != writer:
            raise f.Damage(f"{what}: root did not sign this")
        self.keys[writer] = self._joined(control.body, f.b64(control.body, "signing_public", what, 32))
        self.former[writer] = [each for each in control.body.get("former", []) if isinstance(each, dict)]
        self.roles[writer] = str(control.body.get("role", "writer"))
        self.revoked.pop(writer, None)
        if control.body.get("revoked"):
            self.revoked[writer] = [str(session) for session in control.body.get("sessions", [])]

    def _joined(self, certificate: f.Body, public: bytes) -> list[bytes]:
        """The key that a host made for itself when it joined, if it did; its enrolment's key signed that, and nothing else."""
        name = f"joined/{certificate['id']}"
        if certificate.get("joining") is not True:
            return [public]
        self.enrolled.setdefault(str(certificate["id"]), []).append(public)
        for place in (name, f"twin/{name}"):
            try:
                control = f.parse_control(self._get(place), "joined", self.vault, name)
                if control.signed_by(public):
                    return [f.b64(control.body, "signing_public", name, 32)]
            except f.Damage:
                continue
        return []

    def publics(self, signer: str, name: str) -> list[bytes]:
        """The keys that may have signed an object: the newest, and one that was replaced if the object is on its list."""
        kind, _, rest = name.partition("/")
        if kind == "joined":
            return self.enrolled.get(signer, [])
        found = list(self.keys.get(signer, []))
        for each in self.former.get(signer, []):
            listed = each.get("states", []) if kind == "state" else [*each.get("sessions", []), *each.get("runs", [])]
            if kind == "audit" or (rest if kind == "state" else rest.partition("/")[0]) in listed:
                found.append(f.b64(each, "public", name, 32))
        return found

    def may_prune(self, signer: str, name: str) -> bool:
        """Whether a signer may forget and revoke: root, the vault's own writer, or a pruner (once revoked, what it said before)."""
        known = self.roles.get(signer) == "pruner" and name in self.revoked.get(signer, [name])
        return known or signer in ("root", self.own_writer)

    def refusal(self, writer: str, snapshot_id: str) -> str:
        """Why a snapshot of a writer does not count, or nothing."""
        if snapshot_id not in self.revoked.get(writer, [snapshot_id]):
            return "of a revoked writer"
        return "" if self.roles.get(writer, "writer") == "writer" else "of one who may not write"

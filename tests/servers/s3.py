"""What tests need of any S3 server beyond stores: buckets, made by signed requests of the engine's own client."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from holdfast import engine


@dataclass(frozen=True, slots=True)
class S3Server:
    """A server on this machine, and its root's access key."""

    port: int
    key: str
    secret: str
    region: str = "us-east-1"

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Send a signed request as root; return status and body."""
        client = engine.NetClient(engine.NetSigner.aws(self.region, self.key, self.secret), [])
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if body:
            pairs.append(("x-amz-checksum-sha256", base64.b64encode(hashlib.sha256(body).digest()).decode()))
        status, _, content = client.request(method, self.endpoint + path, pairs, body or None, sha256=_sha256(body))
        return status, content

    def make_bucket(self, name: str, *, lock: bool = False) -> None:
        """Make a bucket, with object lock if asked for."""
        headers = {"x_amz_bucket_object_lock_enabled": "true"} if lock else {}
        status, content = self.send("PUT", f"/{name}", b"", **headers)
        assert status == 200, content


def _sha256(body: bytes) -> bytes | None:
    return hashlib.sha256(body).digest() if body else None

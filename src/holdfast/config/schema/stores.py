"""Settings of stores: where packs and objects are kept, and how each is reached."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints
from pydantic.types import StrictBool, StrictInt, StrictStr

from holdfast.config.schema.fields import Seconds, Secret, Section, Size, Text, option

__all__ = ["StoreSettings"]

Choice = Annotated[StrictStr, StringConstraints(max_length=64)]


class StoreSettings(Section):
    """A store by name, which `store:NAME` refers to. An option that its kind does not have is refused."""

    url: Text = option(
        ...,
        "Where it is: a folder, `file:///FOLDER`, `s3://BUCKET/PREFIX`, `azure://CONTAINER/PREFIX`, `gs://BUCKET/PREFIX`,"
        " `webdavs://HOST/PATH`, `sftp://USER@HOST:PORT/PATH`, or the URL of a plug-in.",
    )
    endpoint: Text | None = option(None, "The service's own URL where it is not the vendor's (S3, Azure, GCS).")
    region: Text | None = option(None, "The region that requests are signed for (S3).")
    path_style: StrictBool | None = option(
        None, "Put the bucket into the path, not into the host's name (S3). By default where an endpoint is given."
    )
    account: Text | None = option(None, "The storage account (Azure).")
    credentials: Annotated[StrictStr, StringConstraints(pattern=r"^(auto|environment|instance|file|none)$")] = option(
        "auto",
        "Where the credential is from: `environment`, `instance` (the machine's own role), `file` (the options below),"
        " `none`, or `auto`: `file` if one of those options is set, else `environment`.",
    )
    access_key_id: Secret | None = option(None, "The id of an access key (S3).", unit="reference")
    secret_access_key: Secret | None = option(None, "The secret of an access key (S3).", unit="reference")
    session_token: Secret | None = option(None, "The token of a temporary access key (S3).", unit="reference")
    account_key: Secret | None = option(None, "The key of the storage account (Azure).", unit="reference")
    sas_token: Secret | None = option(None, "A shared access signature (Azure).", unit="reference")
    service_account: Secret | None = option(None, "The JSON key of a service account (GCS).", unit="reference")
    username: Secret | None = option(None, "The name to sign in with (WebDAV).", unit="reference")
    password: Secret | None = option(None, "The password to sign in with (WebDAV, SFTP).", unit="reference")
    private_key: Secret | None = option(None, "The private key to sign in with (SFTP).", unit="reference")
    known_hosts: Text | None = option(
        None, "The file with the server's host key (SFTP). By default `~/.ssh/known_hosts`; an unknown host is refused."
    )
    ca_file: Text | None = option(
        None, "A file of certificates (PEM); servers are trusted by these alone, not by the system's."
    )
    proxy: Text | None = option(
        None, "The URL of an HTTP proxy. By default none: variables of the environment do not count."
    )
    storage_class: Text | None = option(
        None,
        "The service's name of the storage class that packs are put into (S3, Azure, GCS). Other objects stay hot.",
    )
    object_lock: Annotated[StrictStr, StringConstraints(pattern=r"^(off|governance|compliance)$")] = option(
        "off",
        "How objects are retained: `compliance` (nobody can shorten it), `governance` (some may), or `off`. The bucket or"
        " container must have it enabled: a store that has not is refused.",
    )
    capacity_bytes: Size | None = option(
        None,
        "How much this vault's packs may take there, for a store that does not tell its room (S3, Azure, GCS) or that others"
        " use, too: what is left of it is watched like the room in a disk.",
        unit="bytes",
        ge=1024,
    )
    concurrency: StrictInt = option(8, "Requests at the same time.", unit="requests", ge=1, le=64)
    attempts: StrictInt = option(5, "How often a request is tried.", unit="attempts", ge=1, le=20)
    connect_timeout_seconds: Seconds = option(10, "How long a connection may take.", unit="seconds", ge=1, le=300)
    timeout_seconds: Seconds = option(
        60, "How long a request may stand still before it counts as failed.", unit="seconds", ge=1, le=3600
    )
    write_bytes_per_s: Size | None = option(None, "Writing to this store.", unit="bytes per second", ge=1024)
    read_bytes_per_s: Size | None = option(None, "Reading from this store.", unit="bytes per second", ge=1024)
    unsafe_plain_http: StrictBool = option(
        False, "Allow HTTP without TLS to a host other than this machine: credentials could be read on the way."
    )

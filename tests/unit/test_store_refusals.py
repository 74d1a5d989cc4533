"""What a service's status and code mean, and what a stream that is none is: pure tables."""

from __future__ import annotations

import io

import pytest

from holdfast.config import StoreSettings
from holdfast.errors import (
    ConfigError,
    InternalError,
    ObjectMissingError,
    StoreAccessError,
    StoreClockError,
    StoreFullError,
    StoreRefusedError,
    StoreRetainedError,
    StoreUnreachableError,
    UsageError,
)
from holdfast.stores import dialogue, service
from holdfast.stores.memory import MemoryStore
from holdfast.stores.refusals import error_code, refusal

OLD = (
    b"<Error><Code>AuthenticationFailed</Code><AuthenticationErrorDetail>Request date header too old"
    b"</AuthenticationErrorDetail></Error>"
)


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        (503, "SlowDown", StoreUnreachableError, "failed to write"),
        (500, "", StoreUnreachableError, "500"),
        (429, "", StoreUnreachableError, "429"),
        (401, "", StoreAccessError, "credential"),
        (403, "", StoreRefusedError, "does not permit"),
        (403, "AccessDenied", StoreRefusedError, "does not permit"),
        (403, "ExpiredToken", StoreAccessError, "expired"),
        (403, "SignatureDoesNotMatch", StoreAccessError, "credential"),
        (403, "RequestTimeTooSkewed", StoreClockError, "clock"),
        (400, "AuthorizationHeaderMalformed", StoreRefusedError, "region"),
        (301, "PermanentRedirect", StoreRefusedError, "region"),
        (404, "NoSuchBucket", StoreRefusedError, "no such bucket"),
        (404, "ContainerNotFound", StoreRefusedError, "no such bucket or container"),
        (507, "", StoreFullError, "full"),
        (403, "QuotaExceeded", StoreFullError, "full"),
        (409, "BlobImmutableDueToPolicy", StoreRetainedError, "retains"),
        (403, "InvalidObjectState", StoreRefusedError, "cold"),
        (400, "InvalidStorageClass", StoreRefusedError, "storage class"),
        (418, "", StoreRefusedError, "refused to write"),
    ],
)
def test_a_refusal_has_one_meaning(status, code, kind, says):
    error = refusal(status, code, "write")
    assert type(error) is kind
    assert says in error.what


@pytest.mark.parametrize(
    ("body", "header", "code"),
    [
        (b"<Error><Code>NoSuchKey</Code></Error>", "", "NoSuchKey"),
        (b'{"error": {"errors": [{"reason": "notFound"}]}}', "", "notFound"),
        (b"", "BlobNotFound", "BlobNotFound"),
        (b"", "<script>", ""),
        (b"<html>gateway</html>", "", ""),
        (OLD, "", "RequestTimeTooSkewed"),
    ],
)
def test_the_code_of_an_answer(body, header, code):
    assert error_code(body, header) == code


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///p",
        "s3://b/../c",
        "s3://b/p?x=1",
        "s3://k:s@b/p",
        "s3://b/p#f",
        "s3://b/ü",
        "s3://.b",
        "s3://b/a//b",
    ],
)
def test_a_place_is_a_bucket_and_a_prefix(url):
    with pytest.raises(UsageError) as caught:
        service.Place.parse(url)
    assert ":s@" not in str(caught.value)


def test_a_prefix_ends_in_a_slash():
    assert service.Place.parse("s3://b") == service.Place("b", "")
    assert service.Place.parse("s3://b/x/y/") == service.Place("b", "x/y/")


def answer(status=206, body=b"", **headers):
    return service.Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


def test_a_part_is_the_part_that_was_asked_for():
    assert service.part_of(answer(body=b"cde", content_range="bytes 2-4/9"), 2, 3) == b"cde"
    assert service.part_of(answer(body=b"hi", content_range="bytes 7-8/9"), 7, 100) == b"hi"
    assert service.part_of(answer(body=b"hi", content_range="bytes 7-8/9"), 7, -1) == b"hi"
    assert service.part_of(answer(200, b"abcdefghi"), 2, 3) == b"cde"
    assert service.part_of(answer(200, b"abcdefghi"), 7, -1) == b"hi"
    assert service.part_of(answer(416), 100, 3) == b""
    for wrong in ("bytes 0-2/9", "bytes 2-3/9", "", "bytes 2-4/*"):
        with pytest.raises(StoreUnreachableError):
            service.part_of(answer(body=b"cde", content_range=wrong), 2, 3)


def test_a_document_declares_nothing():
    assert service.text(service.document(b'<a xmlns="urn:x"><b>1</b></a>'), "b") == "1"
    for strange in (b"no xml", b"", b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>', b"<a>"):
        with pytest.raises(StoreRefusedError, match="not of its protocol"):
            service.document(strange)


def test_an_endpoint_is_https_unless_it_is_this_machine_or_allowed():
    plain = StoreSettings(url="s3://b")
    assert service.base_url("https://s3.example/", plain) == "https://s3.example"
    assert service.base_url("http://127.0.0.1:9000", plain) == "http://127.0.0.1:9000"
    unsafe = StoreSettings(url="s3://b", unsafe_plain_http=True)
    assert service.base_url("http://s3.example", unsafe) == "http://s3.example"
    for wrong in ("http://s3.example", "s3.example", "ftp://h", "https://u:p@h", "https://h?x"):
        with pytest.raises(ConfigError):
            service.base_url(wrong, plain)


def ask(store, *messages, add_only=False):
    """Return what a served store answers to messages, as headers and contents."""
    sink = io.BytesIO()
    dialogue.serve(store, io.BytesIO(b"".join(messages)), sink, add_only=add_only)
    found, stream = [], io.BytesIO(sink.getvalue())
    while prefix := stream.read(4):
        header, size = dialogue.header_of(stream.read(dialogue.header_length(prefix)))
        found.append((header, stream.read(size)))
    return found


def test_a_served_store_answers():
    store = MemoryStore()
    found = ask(
        store,
        dialogue.encode({"verb": "put", "name": "data/00/a"}, b"bytes"),
        dialogue.encode({"verb": "get_range", "name": "data/00/a", "offset": 1, "length": 2}),
        dialogue.encode({"verb": "list", "prefix": ""}),
        dialogue.encode({"verb": "get", "name": "none"}),
        dialogue.encode({"verb": "get", "name": "../etc/passwd"}),
        dialogue.encode({"verb": "format"}),
        dialogue.encode({"verb": "get_range", "name": "data/00/a", "offset": -1, "length": 2}),
    )
    assert [content for _, content in found[:3]] == [b"", b"yt", b"5 data/00/a\n"]
    assert [header["error"] for header, _ in found[3:]] == [
        "object-missing",
        "internal",
        "store-refused",
        "store-refused",
    ]
    assert isinstance(dialogue.raised(found[3][0]), ObjectMissingError)
    assert isinstance(dialogue.raised(found[4][0]), InternalError)
    assert isinstance(dialogue.raised({"error": "of-a-newer-release"}), StoreUnreachableError)


def test_what_is_served_to_add_only_is_never_removed():
    store = MemoryStore()
    store.put("snapshot/a", b"x")
    found = ask(
        store,
        dialogue.encode({"verb": "delete", "name": "snapshot/a"}),
        dialogue.encode({"verb": "create"}),
        dialogue.encode({"verb": "put", "name": "snapshot/a"}, b"other"),
        add_only=True,
    )
    assert [header["error"] for header, _ in found] == ["store-refused", "store-refused", "internal"]
    assert store.objects == {"snapshot/a": b"x"}


@pytest.mark.parametrize("stream", [b"\0\0\0\1", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\4nope"])
def test_a_stream_that_is_none_is_refused(stream):
    with pytest.raises(StoreRefusedError, match="protocol of `holdfast serve`"):
        dialogue.serve(MemoryStore(), io.BytesIO(stream), io.BytesIO(), add_only=True)


def test_a_stream_that_ends_in_the_middle_changes_nothing():
    whole = dialogue.encode({"verb": "put", "name": "data/00/a"}, b"bytes")
    for cut in range(1, len(whole)):
        store = MemoryStore()
        with pytest.raises(StoreUnreachableError, match="middle of a request"):
            dialogue.serve(store, io.BytesIO(whole[:cut]), io.BytesIO(), add_only=True)
        assert store.objects == {}


def test_a_listing_that_is_none_is_refused():
    for strange in (b"no size\n", b"12\n"):
        with pytest.raises((StoreRefusedError, InternalError)):
            dialogue.rows_of(strange)

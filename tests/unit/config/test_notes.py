"""What a channel's options name and this host does not have is said, and is no fault."""

from __future__ import annotations

import pytest

from holdfast import config
from holdfast.config.notes import channel_notes
from option_cases import HEAD

HOOK = '[channels.a]\nkind = "webhook"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HOOK + 'url = "env:NOPE"\n', "channels.a.url: the environment has no such variable"),
        (HOOK + 'url = "file:ROOT/none"\n', "channels.a.url: the file of the secret is not there"),
        (HOOK + 'url = "env:HOOK"\nca_file = "ROOT/none.pem"\n', "channels.a.ca_file: the file is not there"),
        (
            '[channels.a]\nkind = "command"\ncommand = ["ROOT/none", "x"]\n',
            "channels.a.command: there is no such program",
        ),
        (
            '[channels.a]\nkind = "file"\npath = "ROOT/none/log"\n',
            "channels.a.path: the folder of the file is not there",
        ),
        (
            '[channels.a]\nkind = "syslog"\ntransport = "unix"\npath = "ROOT/none"\n',
            "channels.a.path: the socket is not there",
        ),
    ],
)
def test_what_is_not_there_is_said(text, said, tmp_path):
    settings = config.loads(HEAD + text.replace("ROOT", str(tmp_path)), environ={}).settings
    (note,) = channel_notes(settings, {"HOOK": "x"})
    assert note.startswith(said)
    assert note.endswith("reaches nobody")
    assert str(tmp_path) not in note


def test_of_what_is_there_nothing_is_said(tmp_path):
    (tmp_path / "ca.pem").write_text("")
    text = (
        HOOK + 'url = "env:HOOK"\nca_file = "ROOT/ca.pem"\nkey = "file:ROOT/ca.pem"\n'
        '[channels.b]\nkind = "command"\ncommand = ["sh"]\n[channels.c]\nkind = "file"\npath = "ROOT/log"\n'
        '[channels.d]\nkind = "syslog"\ntransport = "unix"\npath = "ROOT/ca.pem"\n'
        '[channels.e]\nkind = "mail"\nhost = "mail.hospital.example"\nsender = "x@y"\n'
    )
    settings = config.loads(HEAD + text.replace("ROOT", str(tmp_path)), environ={}).settings
    assert channel_notes(settings, {"HOOK": "x"}) == ()

"""A configuration is read whole: all faults at once with their lines, secrets only by reference, every value with its origin."""

from __future__ import annotations

import pytest

from holdfast import config
from holdfast.config import render
from holdfast.config.lines import line_of, lines_of
from holdfast.config.load import check_key
from holdfast.config.options import list_sections
from holdfast.errors import ConfigError
from option_cases import HEAD, all_cases

CASES = all_cases()


def test_every_option_has_a_case_that_sets_it():
    assert set(CASES) == {option.key for option in config.options()}


@pytest.mark.parametrize("key", sorted(CASES))
def test_an_option_is_set_differs_from_its_default_and_knows_its_line(key):
    text, expected = CASES[key]
    loaded = config.loads(text, environ={})
    parts = key.split(".")
    lists = list_sections()
    name = ".".join(
        part if part != "*" else "0" if ".".join(parts[: place + 1]) in lists else "a"
        for place, part in enumerate(parts)
    )
    assert loaded.value(name) == expected
    option = config.option_for(key)
    assert option is not None
    assert option.required or option.default != expected
    assert loaded.origin(name).kind == "file"
    line = int(loaded.origin(name).place.rpartition(":")[2])
    assert text.splitlines()[line - 1].startswith(name.rpartition(".")[2])


@pytest.mark.parametrize("option", config.options(), ids=lambda option: option.key)
def test_every_option_is_explained(option):
    assert option.sentence.endswith(".")
    assert option.kind
    text = render.explain(option.key)
    assert option.sentence in text
    assert option.default_text in text


def test_all_faults_are_reported_at_once_with_their_lines():
    text = """[vault]
ur = "/v"
key_file = "hunter2"
[backup]
level = "fast"
workers = 1000
[[jobs.a.classes]]
name = "PHI"
[jobs.B_]
[limits]
read_bytes_per_s = "many"
"""
    with pytest.raises(ConfigError) as caught:
        config.loads(text, "site.toml", environ={})
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 9
    assert "site.toml:1: vault.url: is required" in problems
    assert "site.toml:2: vault.ur: no such key; did you mean `url`?" in problems
    assert "site.toml:3: vault.key_file: a secret is given by reference" in problems
    assert "site.toml:5: backup.level" in problems
    assert "site.toml:6: backup.workers" in problems
    assert "site.toml:7: jobs.a.classes.0.pattern: is required" in problems
    assert "site.toml:8: jobs.a.classes.0.name" in problems
    assert "site.toml:9: jobs.B_" in problems
    assert "site.toml:11: limits.read_bytes_per_s: not a size" in problems
    assert "hunter2" not in str(caught.value)


def test_a_text_that_is_no_toml_is_refused_with_its_line():
    with pytest.raises(ConfigError, match="line 2"):
        config.loads("[vault]\nurl =\n", environ={})


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.toml cannot be read"):
        config.load(tmp_path / "gone.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe4")
    with pytest.raises(ConfigError, match="not UTF-8: byte 2"):
        config.load(tmp_path / "latin.toml")
    (tmp_path / "long.toml").write_bytes(b"#" * (5 << 20))
    with pytest.raises(ConfigError, match="longer than"):
        config.load(tmp_path / "long.toml")


def test_the_environment_goes_before_the_file(tmp_path):
    path = tmp_path / "h.toml"
    path.write_text(HEAD)
    loaded = config.load(path, {"HOLDFAST_VAULT": "/other", "HOLDFAST_KEY_FILE": "/k"})
    assert loaded.settings.vault.url == "/other"
    assert str(loaded.settings.vault.key_file) == "file:/k"
    assert str(loaded.origin("vault.url")) == "environment HOLDFAST_VAULT"
    assert str(loaded.origin("backup.level")) == "default"
    assert config.loads("", environ={"HOLDFAST_VAULT": "/v"}).settings.vault.url == "/v"


def test_the_sample_is_valid_names_every_option_and_shows_the_defaults():
    text = render.sample()
    loaded = config.loads(text, environ={})
    for option in config.options():
        assert f"{option.key.rpartition('.')[2]} = " in text
    everything = "\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line or "[" in line[:4])
    everything = everything.replace('older_than_days = ""', "").replace('exclude_larger_than = ""', "")
    everything = "\n".join(
        line for line in everything.splitlines() if not line.endswith('= ""') or "class_name" in line
    )
    assert config.loads(everything, environ={}).settings.backup == loaded.settings.backup


def test_show_names_every_value_and_no_secret(monkeypatch):
    loaded = config.loads(
        HEAD + 'passphrase = "env:P"\n[[jobs.a.classes]]\npattern = "*"\nname = "public"\n', environ={"P": "hunter2"}
    )
    rows = {key: (value, origin) for key, value, origin in render.show(loaded)}
    assert rows["vault.passphrase"] == ('"env:P"', "file holdfast.toml:3")
    assert rows["jobs.a.classes.0.name"][0] == '"public"'
    assert rows["backup.pack_bytes"] == ("33.6 MB", "default")
    assert "hunter2" not in str(rows)


def test_explain_gives_value_and_origin_and_refuses_what_there_is_not():
    loaded = config.loads(HEAD + "[jobs.a]\naudit_files = 7\n", environ={})
    text = render.explain("jobs.a.audit_files", loaded)
    assert "value    7" in text
    assert "holdfast.toml:4" in text
    assert "no such table" in render.explain("jobs.b.audit_files", loaded)
    assert "HOLDFAST_VAULT" in render.explain("vault.url", loaded)
    with pytest.raises(ConfigError, match=r"no option backup\.levle; did you mean `level`"):
        check_key("backup.levle")
    with pytest.raises(ConfigError, match="no option nothing"):
        render.explain("nothing")


def test_value_knows_what_is_not_there():
    loaded = config.loads(HEAD + "[jobs.a]\n", environ={})
    for key in ("vault.nothing", "jobs.b.paths", "jobs.a.classes.0.name", "jobs.a.classes.x"):
        with pytest.raises(KeyError):
            loaded.value(key)


def test_a_secret_is_revealed_only_where_it_is(tmp_path):
    place = tmp_path / "secret"
    place.write_text("open sesame\n")
    assert config.SecretRef.parse(f"file:{place}").reveal({}) == "open sesame"
    assert config.SecretRef.parse("env:P").reveal({"P": "x"}) == "x"
    with pytest.raises(ConfigError, match="no variable P"):
        config.SecretRef.parse("env:P").reveal({})
    with pytest.raises(ConfigError, match="No such file"):
        config.SecretRef.parse(f"file:{tmp_path}/none").reveal({})
    place.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.SecretRef.parse(f"file:{place}").reveal({})
    place.write_bytes(b"x" * 70_000)
    with pytest.raises(ConfigError, match="longer than"):
        config.SecretRef.parse(f"file:{place}").reveal({})
    with pytest.raises(ValueError, match="by reference"):
        config.SecretRef.parse("hunter2")


def test_lines_are_found_behind_strings_lists_and_arrays_of_tables():
    text = '''[vault]
url = """
[not.a.table]
key = 1
"""
[jobs.a]
paths = [
  "x", # ] no end
  "[y]",
]
"quoted key" = 'it''s'
[[jobs.a.classes]]
pattern = "a"
[[jobs.a.classes]]
pattern = { inline = "}" }
[jobs.a.classes.more]
deep = 1
'''
    found = lines_of(text)
    assert found["vault", "url"] == 2
    assert ("not", "a", "table") not in found
    assert found["jobs", "a", "paths"] == 7
    assert found["jobs", "a", "quoted key"] == 11
    assert found["jobs", "a", "classes", 0, "pattern"] == 13
    assert found["jobs", "a", "classes", 1, "pattern"] == 15
    assert found["jobs", "a", "classes", 1, "more", "deep"] == 17
    assert line_of(found, ("jobs", "a", "paths", 1)) == 7
    assert line_of(found, ("nothing",)) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[services.a]\nneeds = ["b"]', "a needs b, which is no service"),
        ('[services.a]\nneeds = ["b"]\n[services.b]\nneeds = ["a"]', "in a circle"),
        ('[services.a]\nrto = "15m"\nneeds = ["b"]\n[services.b]\nrto = "1h"', "needs b, which may take 1 h 0 min"),
        ('[services.a]\nrto = "15m"\nsize = "1TB"\nrestore_bytes_per_s = "100MB"', "data alone takes 2 h 46 min"),
        ('[[services.a.checks]]\nname = "c"\n[[services.a.checks]]\nname = "c"', "two checks named c"),
    ],
)
def test_services_that_cannot_be_are_refused_at_load(text, wrong):
    with pytest.raises(ConfigError) as caught:
        config.loads(HEAD + text, "site.toml", environ={})
    assert wrong in str(caught.value)
    assert "services" in str(caught.value)


def test_an_objective_that_arithmetic_allows_is_taken():
    text = '[services.a]\nneeds = ["b"]\nsize = "1GB"\nrestore_bytes_per_s = "100MB"\n[services.b]\nrto = "15m"'
    assert config.loads(HEAD + text, environ={}).settings.services["a"].needs == ("b",)


@pytest.mark.parametrize(
    ("table", "key", "texts"),
    [
        (
            "telemetry",
            "endpoint",
            (
                "http://127.0.0.1:99999",
                "http://127.0.0.1:0",
                "http://127.0.0.1:x",
                "http://:4318",
                "http://[::1",
                "https:///v1",
            ),
        ),
        (
            "monitoring",
            "listen",
            (
                "nonsense",
                ":99999",
                "127.0.0.1:0",
                "127.0.0.1:",
                "127.0.0.1:x",
                "::1:9187",
                "a b:9187",
                "127.0.0.1:9187/x",
            ),
        ),
    ],
)
def test_an_address_that_nothing_can_be_at_is_refused_at_load(table, key, texts):
    for text in texts:
        with pytest.raises(ConfigError, match=rf"{table}\.{key}"):
            config.loads(f'{HEAD}[{table}]\n{key} = "{text}"', environ={})
    for text in ("", "http://otel", "https://[::1]:4318/x"):
        assert config.loads(f'{HEAD}[telemetry]\nendpoint = "{text}"', environ={}).settings.telemetry.endpoint == text
    for text in ("", ":9187", "[::1]:9187", "localhost:65535"):
        assert config.loads(f'{HEAD}[monitoring]\nlisten = "{text}"', environ={}).settings.monitoring.listen == text

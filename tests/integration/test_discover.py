"""`holdfast discover` on this machine: real servers are found by their processes, and a live database in a job's path is an error."""

from __future__ import annotations

import json

import pytest

from holdfast import config
from holdfast.base.environment import system
from holdfast.cli.main import main
from holdfast.cli.shapes import problems
from holdfast.runs.applications import connection_of
from holdfast.sources.composites import COMPOSITES
from holdfast.sources.connectors import factory
from servers import redis


def test_a_running_server_is_found_and_a_plain_job_over_it_is_refused(tmp_path, capsys):
    with redis.redis(tmp_path / "cache") as server:
        server.call("SAVE")
        assert main(["discover", "--json", str(tmp_path)]) == 0
        rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [problem for row in rows for problem in problems(row)] == []
        mine = [row for row in rows if ["port", str(server.port)] in row["settings"]]
        assert [(row["connector"], row["live"]) for row in mine] == [("redis", True)]
        assert ["path", str(tmp_path / "cache")] in mine[0]["settings"]
        paths = f'paths = ["{tmp_path}"]\n'
        jobs = f'[jobs.files]\n{paths}[jobs.open]\n{paths}default_class = "public"\n'
        (tmp_path / "holdfast.toml").write_text(f'[vault]\nurl = "/v"\n{jobs}')
        assert main(["discover", "--config", str(tmp_path / "holdfast.toml"), str(tmp_path)]) == 1
        said = capsys.readouterr()
        assert "1 live databases with patient data" in said.err
        assert "# job open: a live redis database" in said.out
        assert str(tmp_path) not in said.err
    (tmp_path / "holdfast.toml").write_text(f'[vault]\nurl = "/v"\n[jobs.files]\npaths = ["{tmp_path}"]\n')
    assert main(["discover", "--config", str(tmp_path / "holdfast.toml"), str(tmp_path)]) == 3
    assert "a stopped redis" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(COMPOSITES))
def test_a_ready_made_group_is_a_configuration_whose_connectors_can_be_made(name, tmp_path, capsys):
    assert main(["discover", "--composite", name]) == 0
    file = tmp_path / "holdfast.toml"
    file.write_text('[vault]\nurl = "/v"\n' + capsys.readouterr().out)
    settings = config.load(str(file), {}).settings
    (job,) = settings.jobs.values()
    assert set(job.applications) == set(settings.applications)
    for application, row in settings.applications.items():
        connector = factory(row.connector).make(connection_of(settings, application), system())
        assert connector.name == application
        connector.close()


def test_a_product_that_is_not_known_is_said(capsys):
    assert main(["discover", "--composite", "abacus"]) == 2
    assert "there are: hapi-fhir" in capsys.readouterr().err

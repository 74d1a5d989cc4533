"""The PostgreSQL connectors pass the suite, on real servers of 15 and 17, with WAL that is archived and WAL that is copied."""

from __future__ import annotations

import pytest

from holdfast.base.environment import system
from holdfast.sources.connectors import factory
from holdfast.sources.connectors.protocol import Connection
from holdfast.testing.connectors import ConnectorSuite
from servers import postgresql


@pytest.fixture(scope="module", params=[15, 17])
def cluster(request):
    with (
        postgresql.place() as place,
        postgresql.cluster(place / "pg", request.param, archiving=True, segment_mb=1) as made,
    ):
        made.make_role(password="secret")
        yield made


class Postgres(ConnectorSuite):
    kind = "postgresql"

    def options(self, cluster):
        raise NotImplementedError

    @pytest.fixture
    def make(self, cluster, tmp_path):
        self.cluster = cluster
        connection = Connection(
            "ehr-db", host=str(cluster.folder), port=cluster.port, user="bkr", state=str(tmp_path / "state"),
            options=self.options(cluster),
        )  # fmt: skip
        return lambda: factory(self.kind).make(connection, system())

    def frozen(self, make):
        """Nobody ever waits: a commit during the backup returns."""
        self.cluster.sql("SET statement_timeout = '20s'; CREATE TABLE probe (id int); DROP TABLE probe")
        return False


class TestArchived(Postgres):
    def options(self, cluster):
        return {"spool": str(cluster.spool), "pages": "all"}


class TestCopied(Postgres):
    def options(self, cluster):
        return {"wal": "copy", "spool": str(cluster.folder / "copied")}


@pytest.mark.parametrize("cluster", [15], indirect=True)
class TestDump(Postgres):
    kind = "postgresql-dump"

    def options(self, cluster):
        cluster.sql("GRANT pg_read_all_data TO bkr")
        return {}

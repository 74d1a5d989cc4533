"""Every connector passes the shipped suite; here the double, with which the suite itself is tried."""

from __future__ import annotations

import pytest

from holdfast.testing.applications import FileApplication, FileConnector
from holdfast.testing.connectors import ConnectorSuite


class TestFileDouble(ConnectorSuite):
    @pytest.fixture
    def make(self, tmp_path):
        application = FileApplication(tmp_path / "application").create()
        application.write("one")
        return lambda: FileConnector(application)

    def frozen(self, make):
        return make().application.frozen

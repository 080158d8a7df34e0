from __future__ import annotations

import pytest

from tests.conftest import CommittedDatabase
from tests.servers import web_server
from zentra.core.roles import UnsafeDatabaseRole, require_fit_role, role_faults


@pytest.mark.django_db
class TestRoleFaults:
    def test_a_superuser_behind_a_lesser_role_is_found_out(self):
        # The test server's one login is a superuser that takes on the app role: that is not a live deployment.
        assert "superuser" in role_faults()

    def test_an_unfit_role_is_refused_by_name(self):
        with pytest.raises(UnsafeDatabaseRole, match="superuser"):
            require_fit_role()


class TestLiveStart:
    def test_the_web_process_does_not_serve_live_money_as_a_superuser(self, committed_database: CommittedDatabase):
        environment = {**committed_database.environment(), "ZENTRA_ALLOW_LIVE": "1"}

        with pytest.raises(AssertionError, match="UnsafeDatabaseRole"), web_server(environment):
            pass

from __future__ import annotations

import psycopg
import pytest
from django.db import transaction

from tests.factories.tenancy import OPERATOR, make_tenant
from zentra.core.clock import SYSTEM_CLOCK
from zentra.core.db import NotInTransaction
from zentra.evidence.models import EvidenceRecord
from zentra.evidence.services import content_hash, record_evidence
from zentra.evidence.types import Fact


def _fact(workspace_id, **more):
    return Fact(workspace_id=workspace_id, actor=OPERATOR, action="thing.done", subject="pay_x", **more)


@pytest.mark.django_db
class TestRecordEvidence:
    def test_the_stored_hash_is_that_of_the_stored_content(self):
        tenant = make_tenant()

        with transaction.atomic():
            record_evidence(facts=[_fact(tenant.workspace.id, data={"amount_minor": 125000})], clock=SYSTEM_CLOCK)

        record = EvidenceRecord.objects.get(workspace=tenant.workspace)
        assert bytes(record.content_hash) == content_hash(record.content)

    def test_it_refuses_to_stand_apart_from_what_it_records(self):
        tenant = make_tenant()

        with pytest.raises(NotInTransaction):
            record_evidence(facts=[_fact(tenant.workspace.id)], clock=SYSTEM_CLOCK)

        assert not EvidenceRecord.objects.exists()


class TestAppendOnly:
    @pytest.mark.parametrize("role", ["zentra_app", "zentra_owner"])
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE evidence_evidencerecord SET payment_id = NULL",
            "DELETE FROM evidence_evidencerecord",
            "TRUNCATE evidence_evidencerecord",
        ],
    )
    def test_the_database_refuses_every_change(self, committed_database, role, statement):
        tenant = make_tenant()
        with transaction.atomic():
            record_evidence(facts=[_fact(tenant.workspace.id)], clock=SYSTEM_CLOCK)

        with (
            committed_database.connect(role) as connection,
            pytest.raises(psycopg.Error, match=r"append-only|permission"),
        ):
            connection.execute(statement)

        assert EvidenceRecord.objects.count() == 1

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from settlement.models import ReconciliationRun, SettlementFile
from settlement.services import runs
from tests.settlement.desk import Desk, open_desk
from tests.settlement.files import file_of, line_of, unknown_line
from zentra.core.ids import new_id, public_id


class Caller:
    def __init__(self, desk: Desk) -> None:
        self.desk, self.client = desk, Client()

    def get(self, path: str) -> Any:
        return self.client.get(f"/api/v1/{path}", headers=self.desk.tenant.headers)

    def upload(self, content: bytes, name: str = "bank.csv", **query: str) -> Any:
        asked = {"provider_account": self.desk.account.public_id, "name": name, **query}
        return self.client.generic(
            "POST",
            "/api/v1/settlement/files",
            content,
            content_type="text/csv",
            QUERY_STRING="&".join(f"{key}={value}" for key, value in asked.items()),
            headers=self.desk.tenant.headers,
        )

    def run(self, key: str) -> Any:
        return self.client.generic(
            "POST",
            "/api/v1/reconciliation/runs",
            b"{}",
            content_type="application/json",
            headers={**self.desk.tenant.headers, "Idempotency-Key": key},
        )


@pytest.fixture
def caller(desk: Desk) -> Caller:
    return Caller(desk)


class TestUpload:
    def test_of_a_csv_body_answers_201_with_what_was_read(self, caller: Caller):
        answer = caller.upload(file_of(line_of(caller.desk.captured())))

        data = answer.json()["data"]
        assert answer.status_code == 201
        assert (data["name"], data["status"], data["new_line_count"]) == ("bank.csv", "read", 1)
        assert data["batch_ids"] == [caller.desk.batch().public_id]

    def test_of_a_form_takes_the_files_own_name(self, caller: Caller):
        upload = SimpleUploadedFile("march.csv", file_of(line_of(caller.desk.captured())), "text/csv")

        answer = caller.client.post(
            "/api/v1/settlement/files",
            {"file": upload, "provider_account": caller.desk.account.public_id},
            headers=caller.desk.tenant.headers,
        )

        assert (answer.status_code, answer.json()["data"]["name"]) == (201, "march.csv")

    def test_of_the_same_bytes_answers_200_with_the_first_file(self, caller: Caller):
        content = file_of(line_of(caller.desk.captured()))
        first = caller.upload(content)

        again = caller.upload(content)

        assert again.status_code == 200
        assert again.json()["data"] == first.json()["data"]
        assert SettlementFile.objects.count() == 1

    def test_of_an_unreadable_file_says_why(self, caller: Caller):
        data = caller.upload(b"no header here").json()["data"]

        assert data["status"] == "unreadable"
        assert "lacks" in data["errors"][0]["reason"]
        assert caller.get(f"settlement/files/{data['id']}").json()["data"] == data

    @pytest.mark.parametrize(
        ("content", "query", "status", "code"),
        [
            (b"", {}, 422, "missing_required_field"),
            (b"x", {"provider_account": "acme"}, 422, "invalid_format"),
            (b"x", {"provider_account": public_id("pac", new_id())}, 404, "not_found"),
            (b"x", {"name": "x" * 201}, 422, "validation_error"),
        ],
    )
    def test_refuses_with_a_typed_error_and_keeps_nothing(
        self, caller: Caller, content: bytes, query: dict[str, str], status: int, code: str
    ):
        answer = caller.upload(content, **query)

        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert not SettlementFile.objects.exists()

    def test_takes_no_json(self, caller: Caller):
        answer = caller.client.post(
            "/api/v1/settlement/files", {}, content_type="application/json", headers=caller.desk.tenant.headers
        )

        assert answer.status_code == 415

    def test_over_the_limit_of_files_is_refused_before_it_is_read(self, caller: Caller, settings: Any):
        settings.FILE_BODY_LIMIT_BYTES = 1_000

        answer = caller.upload(b"x" * 1_001)

        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")
        assert not SettlementFile.objects.exists()


class TestBatchesAndExceptions:
    def test_show_both_totals_and_the_cases(self, caller: Caller):
        desk = caller.desk
        capture = desk.captured(10_000)
        batch = desk.settle(line_of(capture, gross_minor=9_900), unknown_line(500))

        data = caller.get(f"settlement/batches/{batch.public_id}").json()["data"]

        assert (data["status"], data["matched_count"], data["drifted_count"]) == ("partially_matched", 0, 2)
        assert (
            data["declared"]
            == data["computed"]
            == {
                "count": 2,
                "gross_minor": 10_400,
                "fee_minor": 0,
                "net_minor": 10_400,
            }
        )
        assert {case["class"] for case in data["cases"]} == {"amount_differs", "unknown_reference"}
        assert caller.get("settlement/batches").json()["data"][0]["open_cases"] == 2

    def test_exceptions_are_filtered(self, caller: Caller):
        desk = caller.desk
        capture = desk.captured(10_000)
        desk.settle(line_of(capture, gross_minor=9_900), unknown_line(500))
        payment = public_id("pay", capture.payment_id)

        found = caller.get(f"reconciliation/exceptions?status=open&payment_id={payment}").json()

        [case] = found["data"]
        assert (case["class"], case["expected_minor"], case["actual_minor"], case["suspense_minor"]) == (
            "amount_differs",
            10_000,
            9_900,
            100,
        )
        assert found["pagination"]["total"] == 1
        assert caller.get("reconciliation/exceptions?drift_class=duplicate").json()["data"] == []
        assert caller.get(f"reconciliation/exceptions/{case['id']}").json()["data"] == case

    @pytest.mark.parametrize("query", ["status=gone", "drift_class=x", "batch_id=btc_x", "payment_id=1", "page=0"])
    def test_a_filter_that_cannot_be_read_is_refused(self, caller: Caller, query: str):
        assert caller.get(f"reconciliation/exceptions?{query}").status_code == 422


class TestRuns:
    def test_are_recorded_and_carried_out_by_a_worker(self, caller: Caller):
        caller.desk.ingest(file_of(line_of(caller.desk.captured())))

        asked = caller.run(uuid4().hex)
        runs.run_nightly()

        data = asked.json()["data"]
        assert (asked.status_code, data["status"]) == (201, "requested")
        done = caller.get(f"reconciliation/runs/{data['id']}").json()["data"]
        assert done["status"] == "finished"
        assert caller.desk.batch().state == "matched"
        assert {run["scope"] for run in caller.get("reconciliation/runs").json()["data"]} == {"request", "nightly"}

    def test_a_repeat_with_the_same_key_is_the_same_answer(self, caller: Caller):
        first, again = caller.run("key-1"), caller.run("key-1")

        assert again.content == first.content
        assert again["Idempotent-Replayed"] == "true"
        assert ReconciliationRun.objects.count() == 1

    def test_need_an_idempotency_key(self, caller: Caller):
        answer = caller.client.post(
            "/api/v1/reconciliation/runs", {}, content_type="application/json", headers=caller.desk.tenant.headers
        )

        assert answer.json()["error"]["code"] == "idempotency_key_required"
        assert not ReconciliationRun.objects.exists()


class TestAnotherWorkspace:
    def test_finds_none_of_it(self, caller: Caller):
        desk = caller.desk
        desk.settle(unknown_line(500))
        run = runs.open_console_run(workspace_id=desk.workspace_id, actor=runs.RUNTIME)
        stranger = Caller(open_desk("Other"))
        file = SettlementFile.objects.get()

        for path in (
            f"settlement/files/{file.public_id}",
            f"settlement/batches/{desk.batch().public_id}",
            f"reconciliation/exceptions/{desk.case().public_id}",
            f"reconciliation/runs/{run.public_id}",
        ):
            assert caller.get(path).status_code == 200
            assert stranger.get(path).status_code == 404
        for path in ("settlement/batches", "reconciliation/exceptions", "reconciliation/runs"):
            assert stranger.get(path).json()["data"] == []

    def test_cannot_upload_for_an_account_of_this_one(self, caller: Caller):
        stranger = Caller(open_desk("Other"))

        answer = stranger.upload(b"x", provider_account=caller.desk.account.public_id)

        assert answer.status_code == 404
        assert not SettlementFile.objects.exists()


class TestWithoutTheScope:
    def test_is_refused(self, caller: Caller):
        from zentra.tenancy.models import ApiKey

        ApiKey.objects.filter(workspace=caller.desk.tenant.workspace).update(scopes=["payments:read"])

        assert caller.get("settlement/batches").status_code == 403
        assert caller.upload(b"x").status_code == 403
        assert caller.run("k").status_code == 403

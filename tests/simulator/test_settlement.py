"""Batches, their files, and each anomaly that a reconciliation must find."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from typing import Any

import pytest

from tests.simulator.process import AcquirerClient, Simulator, new_reference

HEADER = (
    "record_type,batch_id,line_id,line_type,acquirer_reference,merchant_reference,"
    "currency,gross_minor,fee_minor,net_minor,booked_on,value_on"
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    running = Simulator(tmp_path_factory.mktemp("settlement"), acquirers=("alpha=0",))
    yield running.alpha
    running.terminate()


@pytest.fixture
def alpha(shared: AcquirerClient) -> AcquirerClient:
    """An acquirer with nothing unsettled."""
    shared.control("settlement")
    return shared


class TestBatch:
    def test_settles_captures_and_refunds_of_each_currency_once(self, alpha: AcquirerClient) -> None:
        euros, yen = alpha.captured(10_000), alpha.captured(5000, currency="JPY")
        refund = alpha.refund(euros["authorization_id"], 2500).json

        batches = {batch["currency"]: batch for batch in alpha.control("settlement")["batches"]}
        again = alpha.control("settlement")["batches"]

        assert (batches["EUR"]["line_count"], batches["EUR"]["declared_net_minor"]) == (2, 7335)
        assert (batches["JPY"]["line_count"], batches["JPY"]["declared_net_minor"]) == (1, 4905)
        assert again == []
        lines, _ = read_file(alpha, batches["EUR"])
        assert [line["acquirer_reference"] for line in lines] == [euros["id"], refund["id"]]
        assert alpha.get(f"/v1/operations/{yen['id']}").json["batch_id"] == batches["JPY"]["batch_id"]

    def test_file_has_the_published_columns_and_signs(self, alpha: AcquirerClient) -> None:
        capture = alpha.captured(10_000)
        refund = alpha.refund(capture["authorization_id"], 2500).json

        [batch] = alpha.control("settlement")["batches"]

        text = alpha.get(batch["file"]).body.decode()
        number, booked_on = batch["batch_id"], capture["created_at"][:10]
        value_on = text.splitlines()[1].rsplit(",", 1)[1]
        sale = f"{capture['id']},{capture['reference']},EUR,10000,165,9835"
        back = f"{refund['id']},{refund['reference']},EUR,-2500,0,-2500"
        assert value_on > booked_on
        assert text.splitlines() == [
            HEADER,
            f"line,{number},{number}-000001,sale,{sale},{booked_on},{value_on}",
            f"line,{number},{number}-000002,refund,{back},{booked_on},{value_on}",
            f"batch,{number},2,payout,,,EUR,7500,165,7335,{booked_on},{value_on}",
        ]

    def test_totals_are_the_sums_of_its_lines(self, alpha: AcquirerClient) -> None:
        for amount_minor in (1, 999, 12_536, 250_000):
            alpha.captured(amount_minor)

        lines, total = read_file(alpha, alpha.control("settlement")["batches"][0])

        for column in ("gross_minor", "fee_minor", "net_minor"):
            assert sum(int(line[column]) for line in lines) == int(total[column])
        assert all(int(line["gross_minor"]) - int(line["fee_minor"]) == int(line["net_minor"]) for line in lines)

    def test_file_keeps_its_bytes_and_hash(self, alpha: AcquirerClient) -> None:
        alpha.captured()
        [batch] = alpha.control("settlement")["batches"]

        first, second = alpha.get(batch["file"]), alpha.get(batch["file"])

        assert first.headers["Content-Type"] == "text/csv; charset=utf-8"
        assert first.body == second.body
        assert hashlib.sha256(first.body).hexdigest() == batch["sha256"]

    def test_is_listed_newest_first(self, alpha: AcquirerClient) -> None:
        alpha.captured()
        [older] = alpha.control("settlement")["batches"]
        alpha.captured()
        [newer] = alpha.control("settlement")["batches"]

        assert alpha.get("/v1/settlement/batches").json["batches"][:2] == [newer, older]

    def test_of_one_currency_leaves_the_others(self, alpha: AcquirerClient) -> None:
        alpha.captured()
        alpha.captured(currency="USD")

        [batch] = alpha.control("settlement", {"currency": "USD"})["batches"]

        assert batch["currency"] == "USD"
        assert [rest["currency"] for rest in alpha.control("settlement")["batches"]] == ["EUR"]

    def test_leaves_out_what_moved_no_money(self, alpha: AcquirerClient) -> None:
        alpha.authorize()
        alpha.capture(alpha.authorize("capture_declined").json["id"])
        pending = alpha.captured(card="refund_pending")
        alpha.refund(pending["authorization_id"], 100)

        [batch] = alpha.control("settlement")["batches"]

        assert batch["line_count"] == 1

    def test_follows_the_acquirers_own_clock(self, start: Callable[..., Simulator]) -> None:
        alpha = start().alpha
        ahead = alpha.control("clock", {"offset_seconds": 40 * 86_400})
        alpha.captured()

        lines, _ = read_file(alpha, alpha.control("settlement")["batches"][0])

        assert lines[0]["booked_on"] == ahead["now"][:10]

    def test_that_is_unknown_has_no_file(self, alpha: AcquirerClient) -> None:
        assert alpha.get("/v1/settlement/batches/bat_nothing/file").code == "batch_not_found"


class TestAnomaly:
    def test_wrong_amount_changes_the_line_and_the_total_alike(self, alpha: AcquirerClient) -> None:
        drifted, right = alpha.captured(10_000), alpha.captured(2000)

        lines, total = close(alpha, {"type": "wrong_amount", "reference": drifted["reference"], "delta_minor": -7})

        by_reference = {line["acquirer_reference"]: line for line in lines}
        assert (by_reference[drifted["id"]]["gross_minor"], by_reference[right["id"]]["gross_minor"]) == (
            "9993",
            "2000",
        )
        assert by_reference[drifted["id"]]["net_minor"] == str(9993 - 165)
        assert int(total["net_minor"]) == sum(int(line["net_minor"]) for line in lines)
        assert alpha.get(f"/v1/operations/{drifted['id']}").json["amount_minor"] == 10_000

    def test_missing_line_is_held_back_for_a_later_batch(self, alpha: AcquirerClient) -> None:
        held, other = alpha.captured(), alpha.captured()

        lines, total = close(alpha, {"type": "missing_line", "reference": held["id"]})
        later, _ = close(alpha)

        assert [line["acquirer_reference"] for line in lines] == [other["id"]]
        assert int(total["net_minor"]) == int(lines[0]["net_minor"])
        assert [line["acquirer_reference"] for line in later] == [held["id"]]

    def test_missing_line_alone_closes_no_batch(self, alpha: AcquirerClient) -> None:
        held = alpha.captured()

        anomalies = [{"type": "missing_line", "reference": held["id"]}]

        assert alpha.control("settlement", {"anomalies": anomalies})["batches"] == []

    def test_duplicate_line_comes_twice_under_two_line_ids(self, alpha: AcquirerClient) -> None:
        capture = alpha.captured()

        lines, total = close(alpha, {"type": "duplicate_line", "reference": capture["reference"]})

        assert [line["acquirer_reference"] for line in lines] == [capture["id"]] * 2
        assert len({line["line_id"] for line in lines}) == 2
        assert (total["line_id"], total["gross_minor"]) == ("2", "25000")

    def test_unknown_reference_adds_a_line_nobody_knows(self, alpha: AcquirerClient) -> None:
        alpha.captured()

        lines, total = close(alpha, {"type": "unknown_reference", "amount_minor": 700})

        [unknown] = [line for line in lines if line["gross_minor"] == "700"]
        assert alpha.by_reference(unknown["merchant_reference"]) == []
        assert alpha.get(f"/v1/operations/{unknown['acquirer_reference']}").status == 404
        assert int(total["gross_minor"]) == 13_200

    def test_unknown_reference_can_be_all_there_is(self, alpha: AcquirerClient) -> None:
        lines, _ = close(alpha, {"type": "unknown_reference", "amount_minor": 700, "currency": "SEK"})

        assert [line["currency"] for line in lines] == ["SEK"]

    def test_declared_total_is_not_the_sum(self, alpha: AcquirerClient) -> None:
        alpha.captured()

        lines, total = close(alpha, {"type": "declared_total", "delta_minor": 500})

        net_minor = sum(int(line["net_minor"]) for line in lines)
        assert int(total["net_minor"]) == net_minor + 500
        assert int(total["gross_minor"]) - int(total["fee_minor"]) == int(total["net_minor"])

    @pytest.mark.parametrize(
        "anomaly",
        [
            {"type": "wrong_amount", "reference": "nobody", "delta_minor": 1},
            {"type": "missing_line", "reference": "nobody"},
            {"type": "duplicate_line"},
            {"type": "unknown_reference", "amount_minor": 0},
            {"type": "declared_total", "delta_minor": 0},
            {"type": "declared_total", "delta_minor": 1, "currency": "NOK"},
            {"type": "surprise"},
            "surprise",
        ],
    )
    def test_that_fits_nothing_closes_nothing(self, alpha: AcquirerClient, anomaly: Any) -> None:
        capture = alpha.captured()

        reply = alpha.call("POST", "/_control/settlement", {"anomalies": [anomaly]})

        assert reply.status == 400
        assert alpha.get(f"/v1/operations/{capture['id']}").json["batch_id"] is None

    def test_that_turns_the_sign_of_its_line_closes_nothing(self, alpha: AcquirerClient) -> None:
        capture = alpha.captured(100)
        anomaly = {"type": "wrong_amount", "reference": capture["id"], "delta_minor": -100}

        reply = alpha.call("POST", "/_control/settlement", {"anomalies": [anomaly]})

        assert (reply.status, reply.json["error"]["field"]) == (400, "delta_minor")
        assert alpha.get(f"/v1/operations/{capture['id']}").json["batch_id"] is None

    def test_without_currency_needs_one_batch_only(self, alpha: AcquirerClient) -> None:
        alpha.captured()
        alpha.captured(currency="USD")
        anomaly = {"type": "declared_total", "delta_minor": 1}

        reply = alpha.call("POST", "/_control/settlement", {"anomalies": [anomaly]})

        assert (reply.status, reply.code) == (400, "currency_required")


def close(client: AcquirerClient, *anomalies: Any) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Close the one batch there is and return its lines and its total."""
    [batch] = client.control("settlement", {"anomalies": list(anomalies)})["batches"]
    lines, total = read_file(client, batch)
    assert int(total["line_id"]) == len(lines) == batch["line_count"]
    assert int(total["net_minor"]) == batch["declared_net_minor"]
    return lines, total


def read_file(client: AcquirerClient, batch: Any) -> tuple[list[dict[str, str]], dict[str, str]]:
    rows = list(csv.DictReader(io.StringIO(client.get(batch["file"]).body.decode())))
    assert [row["record_type"] for row in rows] == ["line"] * (len(rows) - 1) + ["batch"]
    assert {row["batch_id"] for row in rows} == {batch["batch_id"]}
    return rows[:-1], rows[-1]


def test_reference_of_two_batches_is_told_apart_by_acquirer_id(shared: AcquirerClient) -> None:
    shared.control("settlement")
    reference = new_reference()
    first = shared.authorize().json
    capture = shared.capture(first["id"], 100, reference=reference).json
    second = shared.authorize().json
    shared.capture(second["id"], 200, reference=reference)

    lines, _ = close(shared, {"type": "wrong_amount", "reference": capture["id"], "delta_minor": 1})

    assert [line["gross_minor"] for line in lines] == ["101", "200"]

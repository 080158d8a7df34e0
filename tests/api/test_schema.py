"""The served description of the API: valid, whole, and readable without the internet."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.validation import validate_schema

from tests.routes import api_routes

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def schema() -> Any:
    """As it is served."""
    answer = Client().get("/api/schema/?format=json")
    assert answer.status_code == 200
    return json.loads(answer.content)


def operations(schema: Any) -> dict[str, Any]:
    return {
        f"{method.upper()} {path.removeprefix('/api/v1/')}": operation
        for path, entry in schema["paths"].items()
        for method, operation in entry.items()
        if method in METHODS
    }


class TestTheSchema:
    def test_is_valid_openapi_3_1(self, schema: Any):
        assert schema["openapi"] == "3.1.0"
        validate_schema(schema)

    def test_is_generated_without_a_warning(self, tmp_path: Any):
        call_command("spectacular", "--fail-on-warn", "--validate", "--file", str(tmp_path / "schema.yaml"))

    def test_describes_every_route_and_no_other(self, schema: Any):
        routes = [(route.method, re.sub(r"<(?:str:|path:)?(\w+)>", r"{\1}", route.pattern)) for route in api_routes()]

        assert set(operations(schema)) == {f"{method} {pattern}" for method, pattern in routes}

    def test_documents_every_operation(self, schema: Any):
        found = operations(schema)
        ids = [operation["operationId"] for operation in found.values()]

        assert len(found) > 20
        assert len(set(ids)) == len(ids)
        for name, operation in found.items():
            assert operation.get("summary") or operation.get("description"), name
            assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"]), name
            good = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
            assert good, name

    def test_describes_answers_in_the_envelope_and_refusals_as_errors(self, schema: Any):
        for name, operation in operations(schema).items():
            for status, answer in operation["responses"].items():
                for form in answer.get("content", {}).values():
                    properties = _resolved(schema, form["schema"])["properties"]
                    assert {"success", "meta"} <= set(properties), (name, status)
                    assert ("error" in properties) == (not status.startswith("2")), (name, status)
            if "callbacks" not in name:
                assert {"401", "403", "429"} <= set(operation["responses"]), name

    def test_describes_a_body_for_every_operation_that_takes_one(self, schema: Any):
        for name, operation in operations(schema).items():
            if name.startswith(("POST", "PATCH")) and not name.endswith(("/test", "/replay")):
                assert operation.get("requestBody"), name

    def test_has_no_reference_into_nothing(self, schema: Any):
        references = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', json.dumps(schema)))

        assert references <= set(schema["components"]["schemas"])

    def test_asks_for_a_key(self, schema: Any):
        assert schema["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
        open_to_all = [name for name, operation in operations(schema).items() if {} in operation.get("security", [{}])]

        assert open_to_all == ["POST callbacks/{provider_account}"]

    def test_says_that_an_amount_is_a_bounded_integer(self, schema: Any):
        amount = _resolved(schema, schema["components"]["schemas"]["CreatePaymentFormRequest"])["properties"][
            "amount_minor"
        ]

        assert {key: amount.get(key) for key in ("type", "minimum", "maximum")} == {
            "type": "integer",
            "minimum": 1,
            "maximum": 2**53 - 1,
        }


def _resolved(schema: Any, part: Any) -> Any:
    while "$ref" in part:
        part = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    return part


class TestTheDocumentation:
    def test_is_served_with_everything_that_it_needs(self, client: Client):
        answer = client.get("/api/docs/")
        text = answer.content.decode()
        needed = re.findall(r"""(?:src|href)=["']([^"']+)["']""", text)

        assert answer.status_code == 200
        assert needed
        for address in needed:
            assert not re.match(r"(https?:)?//", address), address
            if address.startswith("/static/"):
                assert client.get(address).status_code == 200, address
        assert not re.search(r"https?://(?!127\.0\.0\.1|localhost|testserver)", text)

    def test_is_where_the_root_leads(self, client: Client):
        assert client.get("/")["Location"] == "/api/docs/"

"""Tables: every foreign key points down the stack, and no change of a model is without its migration."""

from __future__ import annotations

from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db.models import Field, Model

#: Height in the stack; equal heights are strangers to each other.
HEIGHT = {
    "core": 0,
    "tenancy": 1,
    "evidence": 2,
    "idempotency": 2,
    "routing": 4,
    "ledger": 4,
    "webhooks": 4,
    "payments": 5,
    "settlement": 6,
}


def height(model: type[Model]) -> int:
    """Django's own tables lie below everything."""
    return HEIGHT.get(model._meta.app_label, -1)


def points_down(model: type[Model], target: type[Model]) -> bool:
    return model._meta.app_label == target._meta.app_label or height(target) < height(model)


def foreign_keys() -> list[tuple[type[Model], Field]]:
    owned = [model for model in apps.get_models(include_auto_created=True) if model._meta.app_label in HEIGHT]
    return [
        (model, field)
        for model in owned
        for field in model._meta.get_fields()
        if field.many_to_one or (field.one_to_one and field.concrete)
    ]


class TestForeignKeys:
    def test_point_down_the_stack_or_stay_within_their_app(self):
        found = foreign_keys()

        assert len(found) > 30
        assert [str(field) for model, field in found if not points_down(model, field.related_model)] == []

    def test_the_check_notices_a_key_that_points_up(self):
        payment, journal = apps.get_model("payments.Payment"), apps.get_model("ledger.Journal")

        assert points_down(payment, journal)
        assert not points_down(journal, payment)
        assert not points_down(journal, apps.get_model("webhooks.Event"))

    def test_across_apps_leave_no_name_behind_on_the_other_side(self):
        named = [
            str(field)
            for model, field in foreign_keys()
            if height(field.related_model) >= 0
            and field.related_model._meta.app_label != model._meta.app_label
            and not field.remote_field.hidden
        ]

        assert named == []


class TestEveryRow:
    #: Rows that belong to something that carries the workspace, or to no workspace at all.
    WITHOUT = {
        "core.ScheduledRun": "one run of the whole platform",
        "tenancy.User": "a person may be a member of several",
        "tenancy.Organization": "above the workspaces",
        "tenancy.Workspace": "is one",
        "tenancy.WorkspaceClock": "its key is the workspace",
        "payments.RuntimeStep": "belongs to a payment",
        "ledger.Balance": "belongs to an account",
        "webhooks.DeliveryAttempt": "belongs to a delivery",
    }

    def test_carries_its_workspace(self):
        models = [model for model in apps.get_models() if model._meta.app_label in HEIGHT]
        without = {
            model._meta.label
            for model in models
            if not model.__name__.startswith("Historical")
            and "workspace" not in {field.name for field in model._meta.fields}
        }

        assert without - set(self.WITHOUT) == set()


@pytest.mark.django_db
class TestMigrations:
    def test_hold_every_change_of_the_models(self):
        told = StringIO()

        try:
            call_command("makemigrations", check=True, dry_run=True, verbosity=1, stdout=told)
        except SystemExit:
            pytest.fail(told.getvalue())

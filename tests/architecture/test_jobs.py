"""Whoever names a job names one that exists."""

from __future__ import annotations

import ast
import inspect

from celery import current_app
from django.conf import settings

from tests.architecture.source import dotted, product


def named_jobs() -> dict[str, str]:
    """Every job name that the product's code gives to the queue, with where."""
    return {
        call.args[0].value: f"{module.name}:{call.lineno}"
        for module in product()
        for call in module.calls()
        if dotted(call.func).rpartition(".")[2] in ("enqueue_on_commit", "send_hint")
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }


class TestAJob:
    def test_that_is_hinted_exists(self):
        named = named_jobs()

        assert "payments.run_capture" in named
        assert {name: where for name, where in named.items() if name not in current_app.tasks} == {}

    def test_that_is_scheduled_exists(self):
        scheduled = {entry["task"] for entry in settings.CELERY["beat_schedule"].values()}

        assert "payments.resolve_unknown" in scheduled
        assert sorted(scheduled - set(current_app.tasks)) == []

    def test_of_ours_bears_the_name_of_its_app_and_survives_arguments_of_a_newer_publisher(self):
        ours = {name: task for name, task in current_app.tasks.items() if not name.startswith("celery.")}

        for name, task in ours.items():
            kinds = {item.kind for item in inspect.signature(task.run).parameters.values()}
            assert task.run.__module__.split(".")[0] == name.split(".")[0]
            assert inspect.Parameter.VAR_KEYWORD in kinds, name
            assert inspect.Parameter.POSITIONAL_OR_KEYWORD not in kinds, name

    def test_is_queued_by_the_door_alone(self):
        """`delay` and `send_task` would queue work that its transaction may still take back."""
        others = [
            f"{module.name}:{call.lineno}"
            for module in product()
            for call in module.calls()
            if isinstance(call.func, ast.Attribute)
            and call.func.attr in ("delay", "apply_async", "send_task")
            and module.name != "zentra.core.jobs"
        ]

        assert others == []

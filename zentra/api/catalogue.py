"""The error catalogue as a page for integrators (docs/errors.md)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Final

from zentra.core.errors import ZentraError

_INTRODUCTION: Final = """\
# Errors

Made by `python3 manage.py errors` from the error classes; a test compares the two. Do not edit by hand.

Every refusal has the same form:

```
{"success": false, "error": {"code", "message", "field", "status", "details"}, "meta": {"request_id", "timestamp"}}
```

Act on `code` (and on `field`, where an input is at fault); `message` is for people and may change. A code that this
page does not list is treated by its status. Some of these codes are met in the admin alone.
"""


def error_page(kinds: Iterable[type[ZentraError]]) -> str:
    """Markdown with one table per HTTP status.

    :param kinds: sorted by status, as `zentra.core.errors.catalogue` gives them
    """
    sections = [_INTRODUCTION]
    for status, group in groupby(kinds, key=lambda kind: kind.status):
        rows = [f"| `{kind.code}` | {_cell(kind.summary)} | {_cell(kind.remedy)} |" for kind in group]
        sections.append(
            "\n".join([f"## {status}\n", "| code | what happened | what to do |", "|---|---|---|", *rows, ""])
        )
    return "\n".join(sections)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

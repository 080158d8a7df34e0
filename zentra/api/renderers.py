from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework.renderers import BaseRenderer

from zentra.api import envelope


class EnvelopeRenderer(BaseRenderer):
    """JSON in the envelope's own byte form, whatever the Accept header says."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else envelope.to_bytes(data)

"""What the servers tell about themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerStatus:
    """One row of `manage.py services status`."""

    name: str
    state: str  # running, starting, stopped, not created, not accessible, external
    version: str
    address: str
    files: str

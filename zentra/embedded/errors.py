"""The one error of this package that is meant for the person at the keyboard."""

from __future__ import annotations


class EmbeddedServiceError(Exception):
    """Something a person can mend; the message names the remedy. manage.py prints it without a traceback."""

"""Adapters to acquirers. They know the wire and the values of ``routing.types``; no models, no payments."""

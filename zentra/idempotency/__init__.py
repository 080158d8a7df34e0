"""Idempotency: one key, one effect, one answer.

A key is claimed inside the first transaction of the operation, names the resource that came of it, and keeps the
final answer byte for byte. Unique per (workspace, operation, key): rotation of an API key never charges again.
May import: zentra.core, zentra.tenancy.
"""

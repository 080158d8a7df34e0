"""Tenancy: organizations, workspaces (tenant and environment in one), merchants, API keys, people and their roles.

Every other row of the platform carries its workspace, and every read takes it first.
Invariants: a key's secret is stored only as a keyed hash; a sandbox clock exists for sandbox workspaces alone.
May import: zentra.core.
"""

"""The kernel: money, ids, clock, errors, database guards, jobs, crypto, outgoing HTTP, registries.

Imports no app of the project, and nothing of the web framework's edge.
"""

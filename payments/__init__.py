"""Payments: the conductor from intake to capture, refund and void. It calls routing, the ledger and webhooks.

Invariants: no transaction is open across the network; an attempt is committed as sent before the wire is touched;
an unknown outcome never fails over, never fails by itself and never charges twice; captures never exceed what was
authorized, refunds never what was captured.
May import: routing, ledger, webhooks and below.
"""

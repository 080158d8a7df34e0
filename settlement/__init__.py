"""Settlement: provider files in, lines matched to payments, what does not match owned by a person until it is closed.

Invariants: a file adds nothing twice; one claim per line; the suspense account of a case equals the case; closing a
case posts its journal in the same transaction; nothing here edits a line, an attempt or an entry.
May import: payments and everything below.
"""

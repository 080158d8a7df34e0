"""The only writers of payments, one module per job.

chronicle     evidence and events of one transaction, written together
transitions   the state of payments and attempts
attempts      a try around the wire: opened as sent, called, answered
retries       what never left this machine
reservations  what of a reservation is given back
authorizations captures refunds voids   what an answer means for each operation
execution     open → call → record, for every operation
intake        POST /payments
sweeps        what a lost hint or a lost answer left behind
callbacks     the provider's own messages
settling      what settlement reports
"""

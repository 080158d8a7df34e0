"""Webhooks: the outbox of events, the merchants' endpoints, and the sending of one to the other.

Owns Event, Endpoint, Delivery, DeliveryAttempt. An event is written in the transaction of the fact that it
tells (`services.publish`), its bytes are serialised once, and every attempt and replay sends those bytes.
PostgreSQL holds every timer; a Celery message is a hint, and the relay delivers without one.
Invariants: events and attempts are append-only in the database; ``sequence`` rises by one per object in
commit order; a delivery is sent only under a lease, and a result counts only from the holder of that lease; a
secret is stored sealed and shown once.
May import: zentra.core, zentra.tenancy, zentra.evidence, and in its edges zentra.api.
"""

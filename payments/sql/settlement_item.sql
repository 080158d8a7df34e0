-- The door of payments for set-based matching: everything a settlement line may be about, in one shape.
-- Amounts are positive minor units; `has_line` says that a line was already applied to the item.
CREATE VIEW payments_settlement_item AS
SELECT c.workspace_id, 'capture'::text AS kind, c.id AS item_id, c.payment_id, p.merchant_id, a.provider_account_id,
       a.reference AS own_reference, a.provider_reference, c.currency, c.amount_minor, c.pending_minor,
       c.succeeded_at, (c.settled_minor > 0 OR c.settled_at IS NOT NULL) AS has_line
  FROM payments_capture c
  JOIN payments_payment p ON p.id = c.payment_id
  JOIN payments_attempt a ON a.capture_id = c.id AND a.state = 'approved'
 WHERE c.state = 'succeeded'
UNION ALL
SELECT r.workspace_id, 'refund', r.id, r.payment_id, p.merchant_id, a.provider_account_id,
       a.reference, a.provider_reference, r.currency, r.amount_minor, 0,
       r.succeeded_at, (r.settled_minor > 0 OR r.settled_at IS NOT NULL)
  FROM payments_refund r
  JOIN payments_payment p ON p.id = r.payment_id
  JOIN payments_attempt a ON a.refund_id = r.id AND a.state = 'approved'
 WHERE r.state = 'succeeded';

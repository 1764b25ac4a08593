-- {project, period}: hand-offs.
-- "0, never absent, for a project known to the ledger".
SELECT project, period, handoffs AS value
FROM period_sum;

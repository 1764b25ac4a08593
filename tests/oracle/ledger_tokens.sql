-- {project, period}: tokens_used of all components.
-- "0, never absent, for a project known to the ledger".
SELECT project, period, tokens AS value
FROM period_sum;

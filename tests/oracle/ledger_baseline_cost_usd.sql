-- {project, period}: cost + savings.
-- "0, never absent, for a project known to the ledger".
SELECT project, period, baseline AS value
FROM period_sum;

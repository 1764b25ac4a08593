-- {project, period}: savings of what succeeded, minus the cost of what failed.
-- "0, never absent, for a project known to the ledger".
SELECT project, period, net_savings AS value
FROM period_sum;

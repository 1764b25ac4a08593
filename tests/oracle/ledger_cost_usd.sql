-- {project, period}: usable costs of final hand-offs, sub-agents and tool calls.
-- "0, never absent, for a project known to the ledger".
SELECT project, period, cost AS value
FROM period_sum;

-- {component, model}: final hand-offs, and sub-agents without MCP tool calls, with cost NULL and tokens above 0. Only
-- such rows create series; one in flight creates its own, at 0.
SELECT component, model, total(counts) AS value
FROM (
  SELECT 'handoff' AS component, model, cost, tokens_used, outcome IS NOT NULL AS counts FROM handoff
  UNION ALL
  SELECT 'subagent', 'unknown', cost, tokens_used, 1 FROM invocation WHERE NOT is_tool
)
WHERE cost IS NULL AND typeof(tokens_used) IN ('integer', 'real') AND tokens_used > 0 AND tokens_used <= 1e12
GROUP BY component, model;

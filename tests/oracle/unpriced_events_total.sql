-- {component, model}: final hand-offs, and sub-agents without MCP tool calls, with cost NULL and tokens above 0. Only
-- such rows create series.
SELECT component, model, count(*) AS value
FROM (
  SELECT 'handoff' AS component, model, cost, tokens_used FROM handoff WHERE outcome IS NOT NULL
  UNION ALL
  SELECT 'subagent', 'unknown', cost, tokens_used FROM invocation WHERE NOT is_tool
)
WHERE cost IS NULL AND typeof(tokens_used) IN ('integer', 'real') AND tokens_used > 0 AND tokens_used <= 1e12
GROUP BY component, model;

-- {agent}: without MCP tool calls.
SELECT agent, total(tokens_used) AS value
FROM invocation
WHERE NOT is_tool
GROUP BY agent;

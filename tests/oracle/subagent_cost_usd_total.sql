-- {agent}: without MCP tool calls.
SELECT agent, total(cost) AS value
FROM invocation
WHERE NOT is_tool
GROUP BY agent;

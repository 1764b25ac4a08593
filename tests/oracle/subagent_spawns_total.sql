-- {parent, agent}: without MCP tool calls.
SELECT parent, agent, count(*) AS value
FROM invocation
WHERE NOT is_tool
GROUP BY parent, agent;

-- {project, agent, outcome}: without MCP tool calls.
SELECT i.project, i.agent, o.outcome, sum(i.outcome = o.outcome) AS value
FROM invocation AS i
CROSS JOIN outcomes AS o
WHERE NOT i.is_tool
GROUP BY i.project, i.agent, o.outcome;

-- {server, tool, outcome}
SELECT i.server, i.tool, o.outcome, sum(i.outcome = o.outcome) AS value
FROM invocation AS i
CROSS JOIN outcomes AS o
WHERE i.is_tool
GROUP BY i.server, i.tool, o.outcome;

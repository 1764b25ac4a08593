-- {server, tool}: every cost is NULL in the sample: "a NULL cost counts 0 (and creates the series)".
SELECT server, tool, total(cost) AS value
FROM invocation
WHERE is_tool
GROUP BY server, tool;

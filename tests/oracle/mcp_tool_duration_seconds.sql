-- {server, tool}: MCP bounds, 0.01 doubling to 10.24 s.
SELECT
  server,
  tool,
  count(execution_time) AS count,
  total(execution_time) AS sum,
  sum(execution_time <= 0.01) AS "le=0.01",
  sum(execution_time <= 0.02) AS "le=0.02",
  sum(execution_time <= 0.04) AS "le=0.04",
  sum(execution_time <= 0.08) AS "le=0.08",
  sum(execution_time <= 0.16) AS "le=0.16",
  sum(execution_time <= 0.32) AS "le=0.32",
  sum(execution_time <= 0.64) AS "le=0.64",
  sum(execution_time <= 1.28) AS "le=1.28",
  sum(execution_time <= 2.56) AS "le=2.56",
  sum(execution_time <= 5.12) AS "le=5.12",
  sum(execution_time <= 10.24) AS "le=10.24",
  count(execution_time) AS "le=+Inf"
FROM invocation
WHERE is_tool AND execution_time IS NOT NULL
GROUP BY server, tool;

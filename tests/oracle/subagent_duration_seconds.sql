-- {agent}: without MCP tool calls. 0.01 doubling to 81.92, then to 1310.72 s.
SELECT
  agent,
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
  sum(execution_time <= 20.48) AS "le=20.48",
  sum(execution_time <= 40.96) AS "le=40.96",
  sum(execution_time <= 81.92) AS "le=81.92",
  sum(execution_time <= 163.84) AS "le=163.84",
  sum(execution_time <= 327.68) AS "le=327.68",
  sum(execution_time <= 655.36) AS "le=655.36",
  sum(execution_time <= 1310.72) AS "le=1310.72",
  count(execution_time) AS "le=+Inf"
FROM invocation
WHERE NOT is_tool AND execution_time IS NOT NULL
GROUP BY agent;

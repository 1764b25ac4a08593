-- {project}: sub-agents, without MCP tool calls, of an ended session, up to its end. 0, 1, 2, 5, 10, 20, 50,
-- 100.
WITH fan_out AS (
  SELECT
    s.project,
    (SELECT count(*) FROM invocation AS i
     WHERE i.session_id = s.session_id AND NOT i.is_tool AND i.at <= s.observed_until) AS n
  FROM session AS s
  WHERE s."end" IS NOT NULL
)
SELECT
  project,
  count(*) AS count,
  sum(n) AS sum,
  sum(n <= 0) AS "le=0.0",
  sum(n <= 1) AS "le=1.0",
  sum(n <= 2) AS "le=2.0",
  sum(n <= 5) AS "le=5.0",
  sum(n <= 10) AS "le=10.0",
  sum(n <= 20) AS "le=20.0",
  sum(n <= 50) AS "le=50.0",
  sum(n <= 100) AS "le=100.0",
  count(*) AS "le=+Inf"
FROM fan_out
GROUP BY project;

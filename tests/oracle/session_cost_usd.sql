-- {project}: "observes the session's counted events, not its total_cost column": what cost_usd_total counts
-- (hand-offs, sub-agents, tools), with times up to the session's end. Task costs are a second view of the
-- same money: not in it. 0.001, 0.0025, 0.005, 0.01 … 100 USD.
WITH spent AS (
  SELECT
    s.project,
    (SELECT total(h.cost) FROM handoff AS h
     WHERE h.session_id = s.session_id AND h.outcome IS NOT NULL AND h.result_at <= s.observed_until)
    + (SELECT total(i.cost) FROM invocation AS i
       WHERE i.session_id = s.session_id AND i.at <= s.observed_until) AS usd
  FROM session AS s
  WHERE s."end" IS NOT NULL
)
SELECT
  project,
  count(*) AS count,
  total(usd) AS sum,
  sum(usd <= 0.001) AS "le=0.001",
  sum(usd <= 0.0025) AS "le=0.0025",
  sum(usd <= 0.005) AS "le=0.005",
  sum(usd <= 0.01) AS "le=0.01",
  sum(usd <= 0.025) AS "le=0.025",
  sum(usd <= 0.05) AS "le=0.05",
  sum(usd <= 0.1) AS "le=0.1",
  sum(usd <= 0.25) AS "le=0.25",
  sum(usd <= 0.5) AS "le=0.5",
  sum(usd <= 1) AS "le=1.0",
  sum(usd <= 2.5) AS "le=2.5",
  sum(usd <= 5) AS "le=5.0",
  sum(usd <= 10) AS "le=10.0",
  sum(usd <= 25) AS "le=25.0",
  sum(usd <= 50) AS "le=50.0",
  sum(usd <= 100) AS "le=100.0",
  count(*) AS "le=+Inf"
FROM spent
GROUP BY project;

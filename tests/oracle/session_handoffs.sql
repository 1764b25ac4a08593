-- {project}: hand-offs of an ended session with results up to its end; a timed-out one has its deadline for
-- its time. Sums to 701 on the sample at 2026-11-21 17:40. 0, 1, 2, 5, 10, 20, 50, 100.
WITH fan_out AS (
  SELECT
    s.project,
    (SELECT count(*) FROM handoff AS h
     WHERE h.session_id = s.session_id AND h.outcome IS NOT NULL AND h.result_at <= s.observed_until) AS n
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

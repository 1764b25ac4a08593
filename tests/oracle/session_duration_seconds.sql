-- {project}: ended sessions; 1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 28800 s.
SELECT
  project,
  count(duration) AS count,
  total(duration) AS sum,
  sum(duration <= 1) AS "le=1.0",
  sum(duration <= 5) AS "le=5.0",
  sum(duration <= 10) AS "le=10.0",
  sum(duration <= 30) AS "le=30.0",
  sum(duration <= 60) AS "le=60.0",
  sum(duration <= 120) AS "le=120.0",
  sum(duration <= 300) AS "le=300.0",
  sum(duration <= 600) AS "le=600.0",
  sum(duration <= 1800) AS "le=1800.0",
  sum(duration <= 3600) AS "le=3600.0",
  sum(duration <= 7200) AS "le=7200.0",
  sum(duration <= 14400) AS "le=14400.0",
  sum(duration <= 28800) AS "le=28800.0",
  count(duration) AS "le=+Inf"
FROM session
WHERE "end" IS NOT NULL
GROUP BY project;

-- {hook}: processing_time; short ones: 0.001, 0.0025, 0.005 … 10 s.
SELECT
  hook,
  count(processing_time) AS count,
  total(processing_time) AS sum,
  sum(processing_time <= 0.001) AS "le=0.001",
  sum(processing_time <= 0.0025) AS "le=0.0025",
  sum(processing_time <= 0.005) AS "le=0.005",
  sum(processing_time <= 0.01) AS "le=0.01",
  sum(processing_time <= 0.025) AS "le=0.025",
  sum(processing_time <= 0.05) AS "le=0.05",
  sum(processing_time <= 0.1) AS "le=0.1",
  sum(processing_time <= 0.25) AS "le=0.25",
  sum(processing_time <= 0.5) AS "le=0.5",
  sum(processing_time <= 1) AS "le=1.0",
  sum(processing_time <= 2.5) AS "le=2.5",
  sum(processing_time <= 5) AS "le=5.0",
  sum(processing_time <= 10) AS "le=10.0",
  count(processing_time) AS "le=+Inf"
FROM hook
WHERE processing_time IS NOT NULL
GROUP BY hook;

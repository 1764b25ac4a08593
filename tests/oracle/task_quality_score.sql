-- {model}: NULL is not observed. 0.5 steps to 5 (the catalogue's 130 series of 10 models: 10 bounds, so none
-- at 0).
SELECT
  model,
  count(quality_score) AS count,
  total(quality_score) AS sum,
  sum(quality_score <= 0.5) AS "le=0.5",
  sum(quality_score <= 1) AS "le=1.0",
  sum(quality_score <= 1.5) AS "le=1.5",
  sum(quality_score <= 2) AS "le=2.0",
  sum(quality_score <= 2.5) AS "le=2.5",
  sum(quality_score <= 3) AS "le=3.0",
  sum(quality_score <= 3.5) AS "le=3.5",
  sum(quality_score <= 4) AS "le=4.0",
  sum(quality_score <= 4.5) AS "le=4.5",
  sum(quality_score <= 5) AS "le=5.0",
  count(quality_score) AS "le=+Inf"
FROM task
WHERE quality_score IS NOT NULL
GROUP BY model;

-- {model}: quality_score, 0..1; bounds "as confidence": .1 … .9, .95, .99, 1.
SELECT
  model,
  count(quality_score) AS count,
  total(quality_score) AS sum,
  sum(quality_score <= 0.1) AS "le=0.1",
  sum(quality_score <= 0.2) AS "le=0.2",
  sum(quality_score <= 0.3) AS "le=0.3",
  sum(quality_score <= 0.4) AS "le=0.4",
  sum(quality_score <= 0.5) AS "le=0.5",
  sum(quality_score <= 0.6) AS "le=0.6",
  sum(quality_score <= 0.7) AS "le=0.7",
  sum(quality_score <= 0.8) AS "le=0.8",
  sum(quality_score <= 0.9) AS "le=0.9",
  sum(quality_score <= 0.95) AS "le=0.95",
  sum(quality_score <= 0.99) AS "le=0.99",
  sum(quality_score <= 1) AS "le=1.0",
  count(quality_score) AS "le=+Inf"
FROM model_call
WHERE quality_score IS NOT NULL
GROUP BY model;

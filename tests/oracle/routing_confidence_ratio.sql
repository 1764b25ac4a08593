-- {model}: confidence_score, "observed when first read". .1 … .9, .95, .99, 1.
SELECT
  model,
  count(confidence_score) AS count,
  total(confidence_score) AS sum,
  sum(confidence_score <= 0.1) AS "le=0.1",
  sum(confidence_score <= 0.2) AS "le=0.2",
  sum(confidence_score <= 0.3) AS "le=0.3",
  sum(confidence_score <= 0.4) AS "le=0.4",
  sum(confidence_score <= 0.5) AS "le=0.5",
  sum(confidence_score <= 0.6) AS "le=0.6",
  sum(confidence_score <= 0.7) AS "le=0.7",
  sum(confidence_score <= 0.8) AS "le=0.8",
  sum(confidence_score <= 0.9) AS "le=0.9",
  sum(confidence_score <= 0.95) AS "le=0.95",
  sum(confidence_score <= 0.99) AS "le=0.99",
  sum(confidence_score <= 1) AS "le=1.0",
  count(confidence_score) AS "le=+Inf"
FROM decision
WHERE confidence_score IS NOT NULL
GROUP BY model;

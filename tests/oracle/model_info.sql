-- {model, vendor, tier}: every value of a label `model` or `source_model`, but `unknown` and `__other__`. The vendor
-- is that of the newest row that names one, of three tables; the tier is `local` for deepseek*, `paid` for claude*.
WITH named(model, vendor, at) AS (
  SELECT model_name, vendor, timestamp FROM model_performance
  UNION ALL SELECT selected_model, selected_vendor, timestamp FROM routing_decisions
  UNION ALL SELECT model_name, vendor, last_updated FROM model_capacity_thresholds
),
vendor AS (
  SELECT
    substr(trim(model, char(9, 10, 11, 12, 13, 32)), 1, 128) AS model,
    substr(trim(vendor, char(9, 10, 11, 12, 13, 32)), 1, 128) AS vendor,
    row_number() OVER (
      PARTITION BY substr(trim(model, char(9, 10, 11, 12, 13, 32)), 1, 128)
      ORDER BY CAST(strftime('%s', at) AS REAL) DESC
    ) AS age
  FROM named
  WHERE trim(vendor, char(9, 10, 11, 12, 13, 32)) <> ''
),
known AS (
  SELECT source_model AS model FROM handoff
  UNION SELECT model FROM handoff
  UNION SELECT model FROM task
  UNION SELECT model FROM decision
  UNION SELECT model FROM model_call
  UNION SELECT model FROM capacity
)
SELECT
  k.model,
  coalesce(v.vendor, 'unknown') AS vendor,
  CASE WHEN k.model LIKE 'deepseek%' THEN 'local' WHEN k.model LIKE 'claude%' THEN 'paid' ELSE 'unknown' END AS tier,
  1 AS value
FROM known AS k
LEFT JOIN vendor AS v ON v.model = k.model AND v.age = 1
WHERE k.model NOT IN ('unknown', '__other__');

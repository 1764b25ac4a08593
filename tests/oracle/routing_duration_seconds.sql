-- {model}: actual_duration of final decisions. 0.01 doubling to 81.92, then to 1310.72 s.
SELECT
  model,
  count(actual_duration) AS count,
  total(actual_duration) AS sum,
  sum(actual_duration <= 0.01) AS "le=0.01",
  sum(actual_duration <= 0.02) AS "le=0.02",
  sum(actual_duration <= 0.04) AS "le=0.04",
  sum(actual_duration <= 0.08) AS "le=0.08",
  sum(actual_duration <= 0.16) AS "le=0.16",
  sum(actual_duration <= 0.32) AS "le=0.32",
  sum(actual_duration <= 0.64) AS "le=0.64",
  sum(actual_duration <= 1.28) AS "le=1.28",
  sum(actual_duration <= 2.56) AS "le=2.56",
  sum(actual_duration <= 5.12) AS "le=5.12",
  sum(actual_duration <= 10.24) AS "le=10.24",
  sum(actual_duration <= 20.48) AS "le=20.48",
  sum(actual_duration <= 40.96) AS "le=40.96",
  sum(actual_duration <= 81.92) AS "le=81.92",
  sum(actual_duration <= 163.84) AS "le=163.84",
  sum(actual_duration <= 327.68) AS "le=327.68",
  sum(actual_duration <= 655.36) AS "le=655.36",
  sum(actual_duration <= 1310.72) AS "le=1310.72",
  count(actual_duration) AS "le=+Inf"
FROM decision
WHERE outcome IS NOT NULL AND actual_duration IS NOT NULL
GROUP BY model;

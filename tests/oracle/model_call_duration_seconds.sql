-- {model}: response_time. 0.01 doubling to 81.92, then to 1310.72 s.
SELECT
  model,
  count(response_time) AS count,
  total(response_time) AS sum,
  sum(response_time <= 0.01) AS "le=0.01",
  sum(response_time <= 0.02) AS "le=0.02",
  sum(response_time <= 0.04) AS "le=0.04",
  sum(response_time <= 0.08) AS "le=0.08",
  sum(response_time <= 0.16) AS "le=0.16",
  sum(response_time <= 0.32) AS "le=0.32",
  sum(response_time <= 0.64) AS "le=0.64",
  sum(response_time <= 1.28) AS "le=1.28",
  sum(response_time <= 2.56) AS "le=2.56",
  sum(response_time <= 5.12) AS "le=5.12",
  sum(response_time <= 10.24) AS "le=10.24",
  sum(response_time <= 20.48) AS "le=20.48",
  sum(response_time <= 40.96) AS "le=40.96",
  sum(response_time <= 81.92) AS "le=81.92",
  sum(response_time <= 163.84) AS "le=163.84",
  sum(response_time <= 327.68) AS "le=327.68",
  sum(response_time <= 655.36) AS "le=655.36",
  sum(response_time <= 1310.72) AS "le=1310.72",
  count(response_time) AS "le=+Inf"
FROM model_call
WHERE response_time IS NOT NULL
GROUP BY model;

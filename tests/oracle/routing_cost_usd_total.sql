-- {model}: actual_cost of final decisions; a row in flight creates its own series, at 0.
SELECT model, total(CASE WHEN outcome IS NOT NULL THEN actual_cost END) AS value
FROM decision
GROUP BY model;

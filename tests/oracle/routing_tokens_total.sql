-- {model}: actual_tokens of final decisions; a row in flight creates its own series, at 0.
SELECT model, total(CASE WHEN outcome IS NOT NULL THEN actual_tokens END) AS value
FROM decision
GROUP BY model;

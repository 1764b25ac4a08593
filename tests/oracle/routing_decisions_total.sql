-- {model, complexity}: "counted when first read".
SELECT model, complexity, count(*) AS value
FROM decision
GROUP BY model, complexity;

-- {model}. Open: models with none in flight, 0 or absent (the test takes both).
SELECT model, count(*) AS value
FROM handoff
WHERE outcome IS NULL
GROUP BY model;

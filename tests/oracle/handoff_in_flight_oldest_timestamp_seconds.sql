-- {model}: "absent when none is in flight". Reading: per model.
SELECT model, min(at) AS value
FROM handoff
WHERE outcome IS NULL
GROUP BY model;

-- {model, error_type}: "counts rows with success 0". Reading: only such rows create series.
SELECT model, error_type, count(*) AS value
FROM task
WHERE outcome = 'failure'
GROUP BY model, error_type;

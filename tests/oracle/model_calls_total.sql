-- {model, task_type}: rows.
SELECT model, task_type, count(*) AS value
FROM model_call
GROUP BY model, task_type;

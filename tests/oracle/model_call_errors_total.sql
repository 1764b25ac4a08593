-- {model, task_type}: sum of error_count.
SELECT model, task_type, total(error_count) AS value
FROM model_call
GROUP BY model, task_type;

-- {model, task_type}: sum of retry_count.
SELECT model, task_type, total(retry_count) AS value
FROM model_call
GROUP BY model, task_type;

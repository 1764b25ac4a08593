-- {task_type, outcome}
SELECT t.task_type, o.outcome, sum(t.outcome = o.outcome) AS value
FROM task AS t
CROSS JOIN outcomes AS o
GROUP BY t.task_type, o.outcome;

-- {task_type, model, outcome}
SELECT h.task_type, h.model, o.outcome, sum(h.outcome IS o.outcome) AS value
FROM handoff AS h
CROSS JOIN outcomes AS o
GROUP BY h.task_type, h.model, o.outcome;

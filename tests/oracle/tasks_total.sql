-- {project, model, outcome}
SELECT t.project, t.model, o.outcome, sum(t.outcome = o.outcome) AS value
FROM task AS t
CROSS JOIN outcomes AS o
GROUP BY t.project, t.model, o.outcome;

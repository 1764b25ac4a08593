-- {project, model, outcome}
SELECT h.project, h.model, o.outcome, sum(h.outcome IS o.outcome) AS value
FROM handoff AS h
CROSS JOIN outcomes AS o
GROUP BY h.project, h.model, o.outcome;

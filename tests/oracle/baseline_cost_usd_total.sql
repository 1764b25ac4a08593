-- {project, component, model, outcome}: cost + savings; "where savings is NULL, unusable or not in the table
-- it equals the cost; a NULL cost counts 0". Reading: a NULL cost with savings gives a baseline of the
-- savings (0 + savings). The sample has no such row.
SELECT h.project, 'handoff' AS component, h.model, o.outcome,
       total(CASE WHEN h.outcome IS o.outcome THEN coalesce(h.cost, 0) + coalesce(h.savings, 0) END) AS value
FROM handoff AS h
CROSS JOIN outcomes AS o
GROUP BY h.project, h.model, o.outcome
UNION ALL
SELECT i.project, CASE WHEN i.is_tool THEN 'tool' ELSE 'subagent' END, 'unknown', o.outcome,
       total(CASE WHEN i.outcome IS o.outcome THEN i.cost END)
FROM invocation AS i
CROSS JOIN outcomes AS o
GROUP BY i.project, i.is_tool, o.outcome;

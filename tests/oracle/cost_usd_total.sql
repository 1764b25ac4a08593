-- {project, component, model, outcome}: "a NULL cost counts 0 (and creates the series)"; sub-agents and tools
-- have model="unknown".
SELECT h.project, 'handoff' AS component, h.model, o.outcome,
       total(CASE WHEN h.outcome IS o.outcome THEN h.cost END) AS value
FROM handoff AS h
CROSS JOIN outcomes AS o
GROUP BY h.project, h.model, o.outcome
UNION ALL
SELECT i.project, CASE WHEN i.is_tool THEN 'tool' ELSE 'subagent' END, 'unknown', o.outcome,
       total(CASE WHEN i.outcome IS o.outcome THEN i.cost END)
FROM invocation AS i
CROSS JOIN outcomes AS o
GROUP BY i.project, i.is_tool, o.outcome;

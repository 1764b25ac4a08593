-- {project, model}: tokens_used of final hand-offs; a row in flight creates its own series, at 0.
SELECT project, model, total(CASE WHEN outcome IS NOT NULL THEN tokens_used END) AS value
FROM handoff
GROUP BY project, model;

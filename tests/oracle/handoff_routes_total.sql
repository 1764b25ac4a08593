-- {source_model, model, reason, outcome}
SELECT h.source_model, h.model, h.reason, o.outcome, sum(h.outcome IS o.outcome) AS value
FROM handoff AS h
CROSS JOIN outcomes AS o
GROUP BY h.source_model, h.model, h.reason, o.outcome;

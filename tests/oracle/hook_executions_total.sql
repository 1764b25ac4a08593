-- {hook, outcome}
SELECT h.hook, o.outcome, sum(h.outcome = o.outcome) AS value
FROM hook AS h
CROSS JOIN outcomes AS o
GROUP BY h.hook, o.outcome;

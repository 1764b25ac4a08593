-- {model, complexity, outcome}: "counted when the result is there, or as `unknown` at the timeout"; a row in flight
-- creates its own, at 0.
SELECT d.model, d.complexity, o.outcome, sum(d.outcome IS o.outcome) AS value
FROM decision AS d
CROSS JOIN outcomes AS o
GROUP BY d.model, d.complexity, o.outcome;

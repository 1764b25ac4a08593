-- {project, outcome, end}: "Any row creates its counters for every `outcome` (and `end`) at 0": nine series a
-- project, those of an active session included ("one seen in flight, its own").
SELECT s.project, o.outcome, e."end", sum(s.outcome = o.outcome AND s."end" IS e."end") AS value
FROM session AS s
CROSS JOIN session_outcomes AS o
CROSS JOIN session_ends AS e
GROUP BY s.project, o.outcome, e."end";

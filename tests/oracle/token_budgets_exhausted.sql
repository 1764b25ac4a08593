-- {project, priority}: open sessions' rows with budget_exhausted 1; the project is the session's.
SELECT project, priority, total(budget_exhausted = 1) AS value
FROM budget
GROUP BY project, priority;

-- {project, priority}: initial_budget of open sessions' rows; the project is the session's.
SELECT project, priority, total(tokens) AS value
FROM budget
GROUP BY project, priority;

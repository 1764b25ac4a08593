-- {project, priority}: claude, deepseek and other tokens used of open sessions' rows; the project is the session's.
SELECT project, priority, total(used) AS value
FROM budget
GROUP BY project, priority;

-- {project}: "a session's start counts when the row is first read".
SELECT project, count(*) AS value
FROM session
GROUP BY project;

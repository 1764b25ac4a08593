-- {project}: sessions that have not ended. Open: projects without one, 0 or absent (the test takes both).
SELECT project, count(*) AS value
FROM session
WHERE "end" IS NULL
GROUP BY project;

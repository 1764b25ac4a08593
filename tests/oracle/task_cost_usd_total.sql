-- {project, model}
SELECT project, model, total(cost) AS value
FROM task
GROUP BY project, model;

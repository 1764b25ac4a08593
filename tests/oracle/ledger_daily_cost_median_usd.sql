-- {project}: "of the 7 whole days before today, days without spend as 0": the fourth of them by cost.
SELECT project, cost AS value
FROM (
  SELECT project, cost, row_number() OVER (PARTITION BY project ORDER BY cost) AS place
  FROM (
    SELECT known.project, d.day, total(l.cost) AS cost
    FROM (SELECT DISTINCT project FROM ledger) AS known
    CROSS JOIN today
    JOIN local_day AS d ON d.day BETWEEN today.day - 7 AND today.day - 1
    LEFT JOIN ledger AS l ON l.project = known.project AND l.day = d.day
    GROUP BY known.project, d.day
  )
)
WHERE place = 4;

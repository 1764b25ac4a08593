-- {budget}: "ledger cost of the running period", of the scope.
SELECT d.budget, total(l.cost) AS value
FROM declared AS d
JOIN running AS r ON r.period = d.period
LEFT JOIN ledger AS l
  ON l.day >= r.first AND l.day < r.next
  AND l.project = coalesce(d.project, l.project) AND l.model = coalesce(d.model, l.model)
GROUP BY d.budget;

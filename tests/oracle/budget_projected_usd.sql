-- {budget}: spent "plus, for each hour left of the period (the running one by its share), the mean spend of that hour
-- of the week over the last four weeks, hours without spend as 0, weeks before the ledger's first day left out; absent
-- while the ledger is younger than two weeks". An hour of the week: local weekday, hours elapsed since local midnight.
WITH RECURSIVE hour(hour) AS (SELECT 0 UNION ALL SELECT hour + 1 FROM hour WHERE hour < 24),
begun AS (SELECT min(day) AS day FROM ledger),
hour_left AS (
  SELECT
    d.budget,
    l.day,
    h.hour,
    CASE WHEN l.day = t.day THEN max(0.0, min(1.0, h.hour + 1 - t.elapsed / 3600.0)) ELSE 1.0 END AS share
  FROM declared AS d
  JOIN running AS r ON r.period = d.period
  CROSS JOIN today AS t
  JOIN local_day AS l ON l.day >= t.day AND l.day < r.next
  JOIN hour AS h ON h.hour * 3600 < l.ends - l.starts
),
-- Each weekday has four days in the four weeks before today.
past AS (
  SELECT l.day
  FROM local_day AS l, today AS t, begun
  WHERE l.day BETWEEN t.day - 28 AND t.day - 1 AND l.day >= begun.day
),
expected AS (
  SELECT
    hl.budget,
    hl.share * (
      SELECT total(l.cost)
      FROM ledger AS l, declared AS d
      WHERE d.budget = hl.budget AND l.project = coalesce(d.project, l.project) AND l.model = coalesce(d.model, l.model)
        AND l.hour = hl.hour AND l.day IN (SELECT day FROM past WHERE (past.day - hl.day) % 7 = 0)
    ) / (SELECT count(*) FROM past WHERE (past.day - hl.day) % 7 = 0) AS usd
  FROM hour_left AS hl
  WHERE hl.share > 0
),
spent AS (
  SELECT d.budget, total(l.cost) AS usd
  FROM declared AS d
  JOIN running AS r ON r.period = d.period
  LEFT JOIN ledger AS l
    ON l.day >= r.first AND l.day < r.next
    AND l.project = coalesce(d.project, l.project) AND l.model = coalesce(d.model, l.model)
  GROUP BY d.budget
)
SELECT s.budget, s.usd + (SELECT total(e.usd) FROM expected AS e WHERE e.budget = s.budget) AS value
FROM spent AS s, today, begun
WHERE today.day - begun.day >= 14;

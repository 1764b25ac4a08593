-- {period}: the midnight after the last day; of …_to_date the same point of the earlier period, "never beyond the
-- earlier period's end", nor beyond that day's, whose hours are all there is by then.
SELECT p.period, CASE WHEN p.elapsed IS NULL THEN u.starts ELSE min(u.starts + p.elapsed, u.ends, b.starts) END AS value
FROM period AS p
JOIN local_day AS u ON u.day = p.until
JOIN local_day AS b ON b.day = p.beyond;

-- {budget}: the midnight after the last day of the running period.
SELECT d.budget, l.starts AS value
FROM declared AS d
JOIN running AS r ON r.period = d.period
JOIN local_day AS l ON l.day = r.next;

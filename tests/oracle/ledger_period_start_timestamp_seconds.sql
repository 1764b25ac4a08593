-- {period}: the first midnight.
SELECT p.period, d.starts AS value
FROM period AS p
JOIN local_day AS d ON d.day = p.first;

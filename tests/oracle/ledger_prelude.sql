-- What the ledger's SQL beside this file stands on, made after prelude.sql: the calendar of the clock's zone, by
-- hand, what each row books, and what each period adds up.

-- How many seconds local time is ahead, from which UTC instant on until which.
CREATE TEMP TABLE zone AS
SELECT
  CAST(strftime('%s', column2) AS INTEGER) AS since,
  CAST(strftime('%s', column3) AS INTEGER) AS until,
  column4 AS ahead
FROM (VALUES
  ('UTC', '2020-01-01 00:00:00', '2030-01-01 00:00:00', 0),
  ('Europe/Berlin', '2024-03-31 01:00:00', '2024-10-27 01:00:00', 7200),
  ('Europe/Berlin', '2024-10-27 01:00:00', '2025-03-30 01:00:00', 3600),
  ('Europe/Berlin', '2025-03-30 01:00:00', '2025-10-26 01:00:00', 7200),
  ('Europe/Berlin', '2025-10-26 01:00:00', '2026-03-29 01:00:00', 3600),
  ('Europe/Berlin', '2026-03-29 01:00:00', '2026-10-25 01:00:00', 7200),
  ('Europe/Berlin', '2026-10-25 01:00:00', '2027-03-28 01:00:00', 3600)
), clock
WHERE column1 = time_zone;

-- Local days, numbered from 1970-01-01 (a Thursday): `starts` and `ends` are the UTC seconds of their midnights.
CREATE TEMP TABLE local_day AS
WITH RECURSIVE number(day) AS (
  SELECT CAST(now / 86400 AS INTEGER) - 500 FROM clock
  UNION ALL SELECT day + 1 FROM number, clock WHERE day < now / 86400 + 40
)
SELECT
  day,
  date(day * 86400, 'unixepoch') AS date,
  day * 86400 - ahead AS starts,
  lead(day * 86400 - ahead) OVER (ORDER BY day) AS ends
FROM number
JOIN zone ON day * 86400 - ahead >= since AND day * 86400 - ahead < until;
CREATE UNIQUE INDEX temp.local_day_day ON local_day(day);

CREATE TEMP TABLE today AS
SELECT day, date, starts, ends, now - starts AS elapsed
FROM local_day, clock
WHERE starts <= now AND now < ends;

-- What books money: hand-offs, final or not, and sub-agents. "Event times are clipped to the time of reading";
-- more than a day ahead is no time.
CREATE TEMP TABLE booking AS
SELECT
  'handoff' AS component, id, project, model, success, outcome, tokens_used, cost, savings,
  CASE WHEN at BETWEEN 946684800 AND now + 86400 THEN min(at, now) END AS at
FROM handoff, clock
UNION ALL
SELECT
  CASE WHEN is_tool THEN 'tool' ELSE 'subagent' END, id, project, 'unknown', success, outcome, tokens_used, cost, NULL,
  CASE WHEN at BETWEEN 946684800 AND now + 86400 THEN min(at, now) END
FROM invocation, clock;

-- A row without a usable time: "in a first scan, on that of the nearest lower id that has one". Reading: where
-- none has, the time of reading.
UPDATE booking SET at = coalesce(
  (SELECT lower.at FROM booking AS lower
   WHERE (lower.component = 'handoff') = (booking.component = 'handoff') AND lower.id < booking.id
     AND lower.at IS NOT NULL
   ORDER BY lower.id DESC LIMIT 1),
  (SELECT now FROM clock))
WHERE at IS NULL;

-- The ledger, a line for each final row: its local day, the hours elapsed since that day's midnight, its amounts.
CREATE TEMP TABLE ledger AS
SELECT
  component, project, model, day, CAST((at - starts) / 3600 AS INTEGER) AS hour,
  coalesce(price, 0) AS cost,
  CASE WHEN cost IS NULL OR price IS NOT NULL THEN max(coalesce(price, 0) + coalesce(spared, 0), 0) ELSE 0 END
    AS baseline,
  CASE WHEN success = 1 THEN coalesce(spared, 0) WHEN success = 0 THEN -coalesce(price, 0) ELSE 0 END AS net_savings,
  CASE WHEN typeof(tokens_used) IN ('integer', 'real') AND tokens_used BETWEEN 0 AND 1e12 THEN tokens_used ELSE 0 END
    AS tokens,
  component = 'handoff' AS handoffs,
  coalesce(success = 0, 0) AS failures
FROM (
  SELECT
    *,
    CASE WHEN typeof(cost) IN ('integer', 'real') AND cost BETWEEN 0 AND 1e6 THEN cost END AS price,
    CASE WHEN typeof(savings) IN ('integer', 'real') AND abs(savings) <= 1e6 THEN savings END AS spared
  FROM booking
)
-- (the first condition only says where to look)
JOIN local_day ON day BETWEEN CAST(at / 86400 AS INTEGER) - 1 AND CAST(at / 86400 AS INTEGER) + 1
  AND at >= starts AND at < ends
WHERE outcome IS NOT NULL AND day > (SELECT day - 400 FROM today);

-- The running periods: first day, the day after the last, and the first of the one before.
CREATE TEMP TABLE running AS
SELECT 'day' AS period, day AS first, day + 1 AS next, day - 1 AS before, day AS today FROM today
UNION ALL
SELECT 'week', day - (day + 3) % 7, day - (day + 3) % 7 + 7, day - (day + 3) % 7 - 7, day FROM today
UNION ALL
SELECT
  'month',
  strftime('%s', date, 'start of month') / 86400,
  strftime('%s', date, 'start of month', '+1 month') / 86400,
  strftime('%s', date, 'start of month', '-1 month') / 86400,
  day
FROM today;

-- All nine: whole days from `first` to before `until`, then, where it is not NULL, `elapsed` seconds of day `until`
-- as far as that is before `beyond`.
CREATE TEMP TABLE period AS
SELECT period, first, next AS until, NULL AS elapsed, next AS beyond FROM running
UNION ALL
SELECT 'previous_' || period, before, first, NULL, first FROM running
UNION ALL
SELECT
  'previous_' || period || '_to_date',
  before,
  min(before + running.today - first, first),
  CASE WHEN before + running.today - first < first THEN elapsed END,
  first
FROM running, today;

-- What each project that the ledger knows booked in each period.
CREATE TEMP TABLE period_sum AS
SELECT
  known.project,
  p.period,
  total(share * cost) AS cost,
  total(share * baseline) AS baseline,
  total(share * net_savings) AS net_savings,
  total(share * tokens) AS tokens,
  total(share * handoffs) AS handoffs
FROM (SELECT DISTINCT project FROM ledger) AS known
CROSS JOIN period AS p
LEFT JOIN (
  SELECT
    l.*,
    q.period,
    CASE
      WHEN l.day < q.until THEN 1.0
      -- the running hour by its share
      ELSE max(0.0, min(1.0, q.elapsed / 3600.0 - l.hour))
    END AS share
  FROM ledger AS l
  JOIN period AS q ON l.day >= q.first AND l.day < q.beyond AND (l.day < q.until OR l.day = q.until)
) AS line ON line.project = known.project AND line.period = p.period
GROUP BY known.project, p.period;

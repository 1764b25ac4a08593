-- {event}: event_type. Of `once`: what is not deleted yet. (No activity of a session: not in the prelude's table of
-- that name.)
SELECT event, count(*) AS value
FROM (
  SELECT coalesce(nullif(substr(trim(event_type, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS event
  FROM live_activities
)
GROUP BY event;

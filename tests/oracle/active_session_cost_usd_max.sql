-- {project}: the most money of one active session: its counted events, so without hand-offs in flight.
-- Open: projects without an active session, 0 or absent (the test takes both).
SELECT project, max(usd) AS value
FROM (
  SELECT
    s.project,
    (SELECT total(h.cost) FROM handoff AS h WHERE h.session_id = s.session_id AND h.outcome IS NOT NULL)
    + (SELECT total(i.cost) FROM invocation AS i WHERE i.session_id = s.session_id) AS usd
  FROM session AS s
  WHERE s."end" IS NULL
)
GROUP BY project;

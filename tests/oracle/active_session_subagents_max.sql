-- {project}: the most sub-agents (no MCP tool calls) of one active session.
-- Open: projects without an active session, 0 or absent (the test takes both).
SELECT project, max(n) AS value
FROM (
  SELECT
    s.project,
    (SELECT count(*) FROM invocation AS i WHERE i.session_id = s.session_id AND NOT i.is_tool) AS n
  FROM session AS s
  WHERE s."end" IS NULL
)
GROUP BY project;

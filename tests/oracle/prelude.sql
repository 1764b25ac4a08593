-- What the metrics' SQL beside this file stands on: the rows, with the times and labels that counting.md and
-- catalogue.md give them, as temporary tables. The one input is the temporary table clock(now), Unix seconds.
-- All of it is written by hand from the documents; nothing here comes from the exporter's code.
--
-- "Labels": trim ASCII white space, cut at 128 characters; NULL or empty is `unknown`.
-- "Event time": `timestamp`, for sessions `start_time`; naive times are UTC. (The sample has no other form.)

CREATE TEMP TABLE outcomes AS
SELECT column1 AS outcome FROM (VALUES ('success'), ('failure'), ('unknown'));

CREATE TEMP TABLE session_outcomes AS
SELECT column1 AS outcome FROM (VALUES ('completed'), ('partial'), ('failed'));

CREATE TEMP TABLE session_ends AS
SELECT column1 AS "end" FROM (VALUES ('closed'), ('idle'), ('lost'));

-- "Activity of a session: its start_time and the event times of its hand-offs, sub-agents, tasks, routing
-- decisions and hooks". A hand-off's deadline is no activity: its event time is its timestamp.
CREATE TEMP TABLE activity AS
SELECT session_id, CAST(strftime('%s', start_time) AS REAL) AS at FROM orchestration_sessions
UNION ALL SELECT session_id, CAST(strftime('%s', timestamp) AS REAL) FROM handoff_events
UNION ALL SELECT session_id, CAST(strftime('%s', timestamp) AS REAL) FROM subagent_invocations
UNION ALL SELECT session_id, CAST(strftime('%s', timestamp) AS REAL) FROM task_outcomes
UNION ALL SELECT session_id, CAST(strftime('%s', timestamp) AS REAL) FROM routing_decisions
UNION ALL SELECT session_id, CAST(strftime('%s', timestamp) AS REAL) FROM claude_code_hooks;

-- Sessions. `end` is NULL while the session is active. "Read, finalise by columns, then time out": a session
-- with end_time is `closed` however long it was silent before; one without is `idle` 3600 s after its last
-- activity, the last of all that a first scan read (a silence in the middle ends nothing). Reading: a limit
-- "has passed" at the very second (<=). No clock of the test stands on one.
CREATE TEMP TABLE session AS
SELECT
  row.*,
  CASE
    WHEN end_at + 60 <= now THEN 'closed'
    WHEN end_at IS NULL AND last_at + 3600 <= now THEN 'idle'
  END AS "end",
  -- "After the end": events and results with times up to this one are observed by the session's histograms.
  CASE WHEN end_at IS NOT NULL THEN end_at + 60 ELSE last_at + 3600 END AS observed_until,
  -- "The duration of a session that ended by idleness ends at its last activity."
  CASE WHEN end_at IS NOT NULL THEN end_at ELSE last_at END - start_at AS duration
FROM (
  SELECT
    s.id,
    s.session_id,
    coalesce(nullif(substr(trim(s.project_name, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS project,
    CAST(strftime('%s', s.start_time) AS REAL) AS start_at,
    CAST(strftime('%s', s.end_time) AS REAL) AS end_at,
    (SELECT max(a.at) FROM activity AS a WHERE a.session_id = s.session_id) AS last_at,
    -- "`completed` has no failed task, `failed` no completed one (0 of 0 is completed), `partial` both".
    CASE
      WHEN coalesce(s.failed_tasks, 0) = 0 THEN 'completed'
      WHEN coalesce(s.completed_tasks, 0) = 0 THEN 'failed'
      ELSE 'partial'
    END AS outcome
  FROM orchestration_sessions AS s
) AS row, clock;

-- Hand-offs. `outcome` is NULL while the hand-off is in flight. "Other rows in flight for in_flight_timeout
-- (6 h): `unknown`"; "a timed-out hand-off at its deadline".
CREATE TEMP TABLE handoff AS
SELECT
  h.id,
  h.session_id,
  coalesce(s.project, 'unknown') AS project,
  coalesce(nullif(substr(trim(h.source_model, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS source_model,
  coalesce(nullif(substr(trim(h.target_model, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS model,
  coalesce(nullif(substr(trim(h.task_type, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS task_type,
  coalesce(CASE WHEN json_valid(h.metadata) THEN json_extract(h.metadata, '$.route_reason') END, 'unknown') AS reason,
  CASE
    WHEN h.success = 1 THEN 'success'
    WHEN h.success = 0 THEN 'failure'
    WHEN h.success IS NOT NULL THEN 'unknown'
    WHEN CAST(strftime('%s', h.timestamp) AS REAL) + 21600 <= now THEN 'unknown'
  END AS outcome,
  CAST(strftime('%s', h.timestamp) AS REAL) AS at,
  CAST(strftime('%s', h.timestamp) AS REAL) + CASE WHEN h.success IS NULL THEN 21600 ELSE 0 END AS result_at,
  h.response_time,
  h.confidence_score,
  h.tokens_used,
  h.cost,
  h.savings
FROM handoff_events AS h
CROSS JOIN clock
LEFT JOIN session AS s ON s.session_id = h.session_id;

-- Sub-agent invocations and MCP tool calls: "final at once", NULL success is `unknown`.
-- "`server` and `tool` are the columns, else metadata, else `agent_name` split at its first dot".
CREATE TEMP TABLE invocation AS
SELECT
  i.id,
  i.session_id,
  i.agent_type IS 'mcp_tool' AS is_tool,
  coalesce(s.project, 'unknown') AS project,
  coalesce(nullif(substr(trim(i.agent_name, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS agent,
  coalesce(
    i.mcp_server_name,
    CASE WHEN json_valid(i.metadata) THEN json_extract(i.metadata, '$.mcp_server_name') END,
    substr(i.agent_name, 1, instr(i.agent_name, '.') - 1)
  ) AS server,
  coalesce(
    i.mcp_tool_name,
    CASE WHEN json_valid(i.metadata) THEN json_extract(i.metadata, '$.mcp_tool_name') END,
    substr(i.agent_name, instr(i.agent_name, '.') + 1)
  ) AS tool,
  CASE WHEN i.success = 1 THEN 'success' WHEN i.success = 0 THEN 'failure' ELSE 'unknown' END AS outcome,
  CAST(strftime('%s', i.timestamp) AS REAL) AS at,
  i.execution_time,
  i.tokens_used,
  i.cost
FROM subagent_invocations AS i
LEFT JOIN session AS s ON s.session_id = i.session_id;

CREATE TEMP TABLE task AS
SELECT
  t.id,
  coalesce(s.project, 'unknown') AS project,
  coalesce(nullif(substr(trim(t.task_type, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS task_type,
  coalesce(nullif(substr(trim(t.model_used, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS model,
  coalesce(nullif(substr(trim(t.error_type, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS error_type,
  CASE WHEN t.success = 1 THEN 'success' WHEN t.success = 0 THEN 'failure' ELSE 'unknown' END AS outcome,
  t.execution_time,
  t.quality_score,
  t.cost
FROM task_outcomes AS t
LEFT JOIN session AS s ON s.session_id = t.session_id;

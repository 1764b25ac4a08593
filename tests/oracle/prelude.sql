-- What the metrics' SQL beside this file stands on: the rows, with the times and labels that counting.md and
-- catalogue.md give them, as temporary tables. The one input is the temporary table clock(now, time_zone): Unix
-- seconds, and the zone of the ledger's days. All of it is written by hand from the documents; nothing here comes
-- from the exporter's code.
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
CREATE INDEX temp.activity_session ON activity(session_id, at);

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
CREATE INDEX temp.session_key ON session(session_id);

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
  h.success,
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
CREATE INDEX temp.handoff_session ON handoff(session_id);

-- Sub-agent invocations and MCP tool calls: "final at once", NULL success is `unknown`.
-- "`server` and `tool` are the columns, else metadata, else `agent_name` split at its first dot".
CREATE TEMP TABLE invocation AS
SELECT
  i.id,
  i.session_id,
  i.agent_type IS 'mcp_tool' AS is_tool,
  coalesce(s.project, 'unknown') AS project,
  coalesce(nullif(substr(trim(i.agent_name, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS agent,
  coalesce(nullif(substr(trim(i.parent_agent, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS parent,
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
  i.success,
  i.execution_time,
  i.tokens_used,
  i.cost
FROM subagent_invocations AS i
LEFT JOIN session AS s ON s.session_id = i.session_id;
CREATE INDEX temp.invocation_session ON invocation(session_id);

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

-- Routing decisions: counted when first read; the result "when execution_success is not NULL", or `unknown` 6 h
-- after the timestamp. `outcome` is NULL until then; `told` says that there is a result.
CREATE TEMP TABLE decision AS
SELECT
  d.id,
  coalesce(nullif(substr(trim(d.selected_model, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS model,
  coalesce(nullif(substr(trim(d.task_complexity, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS complexity,
  d.execution_success IS NOT NULL AS told,
  CASE
    WHEN d.execution_success = 1 THEN 'success'
    WHEN d.execution_success = 0 THEN 'failure'
    WHEN d.execution_success IS NOT NULL THEN 'unknown'
    WHEN CAST(strftime('%s', d.timestamp) AS REAL) + 21600 <= now THEN 'unknown'
  END AS outcome,
  d.confidence_score,
  d.actual_duration,
  d.actual_cost,
  d.actual_tokens
FROM routing_decisions AS d
CROSS JOIN clock;

-- Model calls: "final at once", of no session.
CREATE TEMP TABLE model_call AS
SELECT
  coalesce(nullif(substr(trim(p.model_name, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS model,
  coalesce(nullif(substr(trim(p.task_type, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS task_type,
  p.response_time,
  p.quality_score,
  p.error_count,
  p.retry_count
FROM model_performance AS p;

CREATE TEMP TABLE hook AS
SELECT
  coalesce(nullif(substr(trim(k.hook_type, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS hook,
  CASE WHEN k.success = 1 THEN 'success' WHEN k.success = 0 THEN 'failure' ELSE 'unknown' END AS outcome,
  k.processing_time
FROM claude_code_hooks AS k;

-- "Token budgets: the session's project", of sessions that have not ended. A value that is NULL, no number or
-- outside 0 … 1e12 is left out of its sum, and of that alone. Reading: of the three used columns each by itself.
CREATE TEMP TABLE budget AS
SELECT
  s.project,
  coalesce(nullif(substr(trim(b.priority_level, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS priority,
  CASE WHEN typeof(b.initial_budget) IN ('integer', 'real') AND b.initial_budget BETWEEN 0 AND 1e12
    THEN b.initial_budget END AS tokens,
  CASE WHEN typeof(b.claude_tokens_used) IN ('integer', 'real') AND b.claude_tokens_used BETWEEN 0 AND 1e12
    THEN b.claude_tokens_used ELSE 0 END
  + CASE WHEN typeof(b.deepseek_tokens_used) IN ('integer', 'real') AND b.deepseek_tokens_used BETWEEN 0 AND 1e12
    THEN b.deepseek_tokens_used ELSE 0 END
  + CASE WHEN typeof(b.other_tokens_used) IN ('integer', 'real') AND b.other_tokens_used BETWEEN 0 AND 1e12
    THEN b.other_tokens_used ELSE 0 END AS used,
  b.budget_exhausted
FROM token_budgets AS b
JOIN session AS s ON s.session_id = b.session_id
WHERE s."end" IS NULL;

-- "Newest row: the highest id per period, per (pattern type, name), per model", of the newest 1,000 of a table.
CREATE TEMP TABLE capacity AS
SELECT *, row_number() OVER (PARTITION BY model ORDER BY id DESC) AS age
FROM (
  SELECT
    c.id,
    coalesce(nullif(substr(trim(c.model_name, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS model,
    c.capacity_threshold,
    c.cost_per_token,
    c.availability_score
  FROM model_capacity_thresholds AS c
  ORDER BY c.id DESC
  LIMIT 1000
);
DELETE FROM capacity WHERE age > 1;

CREATE TEMP TABLE account AS
SELECT *, row_number() OVER (PARTITION BY period ORDER BY id DESC) AS age
FROM (
  SELECT
    a.id,
    coalesce(nullif(substr(trim(a.current_tier, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS tier,
    coalesce(nullif(substr(trim(a.recommended_tier, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown')
      AS recommended_tier,
    coalesce(nullif(substr(trim(a.period_type, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS period,
    a.claude_cost_actual,
    a.claude_cost_if_pro,
    a.deepseek_cost_actual,
    a.projected_savings,
    a.transition_confidence
  FROM claude_account_analysis AS a
  ORDER BY a.id DESC
  LIMIT 1000
);
DELETE FROM account WHERE age > 1;

-- "The 50 of most impact": an unusable impact last, ties by kind, then pattern.
CREATE TEMP TABLE pattern AS
SELECT kind, pattern, frequency, impact
FROM (
  SELECT *, row_number() OVER (PARTITION BY kind, pattern ORDER BY id DESC) AS age
  FROM (
    SELECT
      p.id,
      coalesce(nullif(substr(trim(p.pattern_type, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS kind,
      coalesce(nullif(substr(trim(p.pattern_name, char(9, 10, 11, 12, 13, 32)), 1, 128), ''), 'unknown') AS pattern,
      CASE WHEN typeof(p.frequency) IN ('integer', 'real') AND p.frequency BETWEEN 0 AND 1e6
        THEN p.frequency END AS frequency,
      CASE WHEN typeof(p.impact_score) IN ('integer', 'real') AND abs(p.impact_score) < 9e999
        THEN p.impact_score END AS impact
    FROM pattern_analysis AS p
    ORDER BY p.id DESC
    LIMIT 1000
  )
)
WHERE age = 1
ORDER BY impact IS NULL, impact DESC, kind, pattern
LIMIT 50;

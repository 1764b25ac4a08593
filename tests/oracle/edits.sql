-- What the sample lacks, put into a copy of it: each line a case that the documents settle and the other SQL
-- here computes (label rules, events after the end, the minute after end_time, other forms of time). No
-- unusable value.

-- Events without a session row, or without a session: project `unknown`.
UPDATE handoff_events SET session_id = 'nowhere' WHERE id = 10;
UPDATE subagent_invocations SET session_id = NULL WHERE id = 20;
UPDATE task_outcomes SET session_id = 'nowhere' WHERE id = 30;

-- Projects: white space around, empty, blank, NULL, 200 characters, hostile ones are in the sample.
UPDATE orchestration_sessions SET project_name = char(9) || ' billing-api ' || char(10) WHERE id = 2;
UPDATE orchestration_sessions SET project_name = '' WHERE id = 3;
UPDATE orchestration_sessions SET project_name = '  ' WHERE id = 4;
UPDATE orchestration_sessions SET project_name = NULL WHERE id = 5;
UPDATE orchestration_sessions SET project_name = replace(hex(zeroblob(100)), '0', 'x') WHERE id = 6;

-- Sub-agents 60 s (observed) and 61 s (not) after the end_time of their closed sessions.
UPDATE subagent_invocations SET agent_type = 'general', agent_name = 'general-purpose', timestamp =
  (SELECT datetime(end_time, '+60 seconds') FROM orchestration_sessions WHERE id = 50),
  session_id = (SELECT session_id FROM orchestration_sessions WHERE id = 50), cost = 0.25 WHERE id = 100;
UPDATE subagent_invocations SET agent_type = 'general', agent_name = 'general-purpose', timestamp =
  (SELECT datetime(end_time, '+61 seconds') FROM orchestration_sessions WHERE id = 51),
  session_id = (SELECT session_id FROM orchestration_sessions WHERE id = 51), cost = 0.5 WHERE id = 101;

-- A hand-off with a result an hour after its session's end; one in flight with a task type and a route of its
-- own.
UPDATE handoff_events SET timestamp =
  (SELECT datetime(end_time, '+1 hour') FROM orchestration_sessions WHERE id = 52),
  session_id = (SELECT session_id FROM orchestration_sessions WHERE id = 52), success = 0 WHERE id = 200;
UPDATE handoff_events SET task_type = 'seen in flight', source_model = 'seen_in_flight', target_model = 'qwen'
WHERE id = 715;

-- Session 140: the only one of its project; its end_time is 30 s ago at 17:40:00, so it is still active then.
UPDATE orchestration_sessions SET project_name = 'new-project', end_time = '2026-11-21 17:39:30' WHERE id = 140;

-- Sessions with failed tasks only, and with none at all.
UPDATE orchestration_sessions SET completed_tasks = 0, failed_tasks = 3 WHERE id = 60;
UPDATE orchestration_sessions SET completed_tasks = 0, failed_tasks = 3 WHERE id = 61;

-- NULLs.
UPDATE handoff_events SET task_type = NULL, response_time = NULL, confidence_score = NULL, tokens_used = NULL,
  metadata = NULL WHERE id = 300;
UPDATE handoff_events SET cost = NULL, savings = NULL WHERE id = 301;
UPDATE handoff_events SET cost = 0.5, savings = NULL WHERE id = 302;
UPDATE handoff_events SET cost = 0.5, savings = -0.25 WHERE id = 303;
UPDATE subagent_invocations SET success = NULL, execution_time = NULL, tokens_used = NULL, cost = NULL WHERE id = 200;
UPDATE task_outcomes SET success = NULL, task_type = ' ', execution_time = NULL, cost = NULL WHERE id = 300;
UPDATE task_outcomes SET success = 0, error_type = NULL, model_used = NULL WHERE id = 301;

-- MCP calls: the columns win over metadata; the name is split at its first dot.
UPDATE subagent_invocations SET agent_type = 'mcp_tool', agent_name = 'a.b', mcp_server_name = 'column-server',
  mcp_tool_name = 'column_tool', metadata = '{"mcp_server_name": "c", "mcp_tool_name": "d"}', cost = 0.125,
  success = NULL WHERE id = 300;
UPDATE subagent_invocations SET agent_type = 'mcp_tool', agent_name = 'split.at.first', metadata = NULL WHERE id = 301;

-- Other forms of time, each the same instant as before.
UPDATE handoff_events SET timestamp = strftime('%Y-%m-%dT%H:%M:%SZ', timestamp) WHERE id BETWEEN 400 AND 449;
UPDATE handoff_events SET timestamp = strftime('%Y-%m-%dT%H:%M:%S+02:00', timestamp, '+2 hours')
WHERE id BETWEEN 450 AND 499;
UPDATE handoff_events SET timestamp = strftime('%Y-%m-%d %H:%M:%S.000', timestamp) WHERE id BETWEEN 500 AND 549;
UPDATE orchestration_sessions SET start_time = strftime('%Y-%m-%dT%H:%M:%S-05:30', start_time, '-330 minutes')
WHERE id BETWEEN 70 AND 110;

-- Escalations, all in a session of their own that ended by idleness at 17:06:00. After a failed local hand-off of
-- the same task type: a retry; a second paid one is none. Tiers by prefix, whatever the case; a third tier is none.
-- `unavailable` wins, and needs no predecessor. NULL and blank task types are the same one. Not failed: one that
-- succeeded, that is in flight, that timed out. Not in time: one whose result is its deadline.
INSERT INTO orchestration_sessions (session_id, start_time, project_name)
VALUES ('escalating', '2026-11-21 16:00:00', 'escalations'), ('ending', '2026-11-21 11:00:00', 'escalations');
INSERT INTO handoff_events (session_id, timestamp, task_type, target_model, success, metadata) VALUES
  ('escalating', '2026-11-21 16:00:10', 'code', 'deepseek-coder', 0, NULL),
  ('escalating', '2026-11-21 16:00:20', 'code', 'claude-opus', 1, NULL),
  ('escalating', '2026-11-21 16:00:30', 'code', 'claude-opus', 1, NULL),
  ('escalating', '2026-11-21 16:00:40', 'analysis', 'DeepSeek-R1', 0, NULL),
  ('escalating', '2026-11-21 16:00:50', 'code', 'claude', 1, NULL),
  ('escalating', '2026-11-21 16:01:00', 'analysis', 'Claude-Sonnet', 0, '{"route_reason": "deepseek_unavailable"}'),
  ('escalating', '2026-11-21 16:01:10', 'code', 'deepseek', 1, '{"route_reason": "deepseek_unavailable"}'),
  ('escalating', '2026-11-21 16:02:00', NULL, 'deepseek', 0, NULL),
  ('escalating', '2026-11-21 16:02:10', '  ', 'CLAUDE-3', 0, NULL),
  ('escalating', '2026-11-21 16:03:00', 'docs', 'deepseek', NULL, NULL),
  ('escalating', '2026-11-21 16:03:10', 'docs', 'claude', 1, NULL),
  ('escalating', '2026-11-21 16:04:00', 'misc', 'qwen', 0, NULL),
  ('escalating', '2026-11-21 16:04:10', 'misc', 'claude', 1, NULL),
  ('escalating', '2026-11-21 16:04:20', 'misc', 'deepseek', 0, NULL),
  ('escalating', '2026-11-21 16:04:30', 'misc', 'qwen', 1, NULL),
  ('escalating', '2026-11-21 16:05:00', 'good', 'deepseek', 1, NULL),
  ('escalating', '2026-11-21 16:05:10', 'good', 'claude', 1, NULL),
  ('escalating', '2026-11-21 16:05:50', 'late', 'deepseek', 0, NULL),
  ('escalating', '2026-11-21 16:06:00', 'late', 'claude', NULL, NULL),
  ('nowhere', '2026-11-21 16:00:00', 'code', 'deepseek', 0, NULL),
  ('nowhere', '2026-11-21 16:00:10', 'code', 'claude', 1, NULL),
  ('nowhere', '2026-11-21 16:00:20', 'code', 'claude', 1, '{"route_reason": "deepseek_unavailable"}'),
  ('ending', '2026-11-21 12:00:50', 'code', 'deepseek', 0, NULL),
  ('ending', '2026-11-21 12:01:00', 'code', 'claude', 0, NULL),
  ('ending', '2026-11-21 12:00:55', 'docs', 'deepseek', 0, NULL),
  ('ending', '2026-11-21 12:01:01', 'docs', 'claude', 0, NULL);
UPDATE orchestration_sessions SET end_time = '2026-11-21 12:00:00' WHERE session_id = 'ending';

-- Unpriced: cost NULL and tokens above 0; not those in flight, not MCP calls, not 0 or NULL tokens.
INSERT INTO handoff_events (session_id, timestamp, target_model, success, tokens_used, cost) VALUES
  (NULL, '2026-11-21 12:00:00', 'qwen', 1, 500, NULL),
  (NULL, '2026-11-21 12:00:00', 'qwen', 0, 500, NULL),
  (NULL, '2026-11-21 12:00:00', 'claude', 1, 0, NULL),
  (NULL, '2026-11-21 12:00:00', 'claude', 1, NULL, NULL),
  (NULL, '2026-11-21 12:00:00', 'priced', 1, 500, 0),
  (NULL, '2026-11-21 15:00:00', 'unpriced-in-flight', NULL, 500, NULL);
UPDATE subagent_invocations SET cost = NULL, tokens_used = 700 WHERE id IN (201, 202) AND agent_type <> 'mcp_tool';
INSERT INTO subagent_invocations (timestamp, agent_type, agent_name, parent_agent, tokens_used, cost, success) VALUES
  ('2026-11-21 12:00:00', 'general', 'general-purpose', NULL, 700, NULL, 0),
  ('2026-11-21 12:00:00', 'general', 'general-purpose', ' general-purpose ', 700, NULL, 1),
  ('2026-11-21 12:00:00', 'mcp_tool', 'filesystem.search', 'general-purpose', 700, NULL, 1);

-- Parents: NULL and blank are `unknown`.
UPDATE subagent_invocations SET parent_agent = NULL WHERE id BETWEEN 210 AND 220;
UPDATE subagent_invocations SET parent_agent = char(9) WHERE id BETWEEN 221 AND 230;
UPDATE subagent_invocations SET parent_agent = 'general-purpose' || char(10) WHERE id BETWEEN 231 AND 240;

-- Routing: without a result, in flight and timed out, in series of their own and with others; NULLs.
INSERT INTO routing_decisions (timestamp, selected_model, selected_vendor, task_complexity, confidence_score,
  execution_success, actual_cost, actual_tokens, actual_duration) VALUES
  ('2026-11-21 17:00:00', 'in-flight', 'acme', NULL, 0.5, NULL, 1, 100, 2),
  ('2026-11-21 11:00:00', 'timed-out', NULL, ' low ', 0.25, NULL, 0.125, 50, 3),
  ('2026-11-21 17:30:00', 'claude-sonnet', 'anthropic', 'low', NULL, NULL, NULL, NULL, NULL),
  ('2026-11-21 10:00:00', NULL, '', 'extreme', 1, 1, NULL, NULL, NULL);
UPDATE routing_decisions SET execution_success = NULL WHERE id BETWEEN 100 AND 105;

-- Model calls: errors, retries, NULLs, a vendor that changes, one that is never named.
INSERT INTO model_performance (timestamp, model_name, vendor, task_type, response_time, quality_score, error_count,
  retry_count) VALUES
  ('2026-11-21 12:00:00', 'deepseek-r1', 'deepseek', ' analysis', 0.005, 0, 2, 3),
  ('2026-11-21 12:00:01', 'deepseek-r1', 'elsewhere', 'analysis', 2000, 1, NULL, 1),
  ('2026-11-21 12:00:00', 'nameless', ' ', NULL, NULL, NULL, 0, 0),
  ('2026-11-20 12:00:00', 'claude-sonnet', 'old vendor', 'analysis', 1, 0.95, 1, 0);

-- Hooks: each outcome, no type, below the first bound and above the last.
INSERT INTO claude_code_hooks (timestamp, hook_type, success, processing_time) VALUES
  ('2026-11-21 12:00:00', 'Notification', NULL, 0.0005),
  ('2026-11-21 12:00:00', 'Notification', 0, 20),
  ('2026-11-21 12:00:00', ' ', 1, NULL);

-- Activities.
INSERT INTO live_activities (event_type, session_id, data, timestamp) VALUES
  ('handoff', 'escalating', '{}', '2026-11-21 16:00:10'),
  (char(9) || 'handoff', NULL, '{}', '2026-11-21 16:00:20'),
  ('  ', 'nowhere', 'no json', '2026-11-21 16:00:20'),
  ('session_end', 'escalating', '{}', '2026-11-21 17:20:00');

-- Token budgets of the open session: three of two priorities, NULLs, unusable values; one of a session that ended,
-- one of none.
INSERT INTO token_budgets (session_id, project_name, initial_budget, claude_tokens_used, deepseek_tokens_used,
  other_tokens_used, budget_exhausted, priority_level)
SELECT session_id, 'not this one', 1000, 10, 20, 30, 1, 'urgent' FROM orchestration_sessions WHERE id = 140
UNION ALL SELECT session_id, NULL, NULL, NULL, 200, 0, 1, 'urgent' FROM orchestration_sessions WHERE id = 140
UNION ALL SELECT session_id, NULL, -5, 'many', 7, NULL, NULL, NULL FROM orchestration_sessions WHERE id = 140
UNION ALL SELECT session_id, NULL, 1000, 1, 1, 1, 1, 'urgent' FROM orchestration_sessions WHERE id = 2
UNION ALL SELECT 'nowhere', NULL, 1000, 1, 1, 1, 1, 'urgent';

-- Capacities: the newest row of a model counts, its unusable values are left out, and no older one takes their place.
INSERT INTO model_capacity_thresholds (model_name, vendor, capacity_threshold, cost_per_token, availability_score,
  last_updated) VALUES
  ('claude-sonnet', 'older', 0.1, 0.1, 0.1, '2026-11-01 00:00:00'),
  (' claude-sonnet ', 'anthropic', 0.8, 9e-6, 0.99, '2026-11-01 00:00:00'),
  ('deepseek-r1', 'deepseek', 0.5, 1e-7, 1, '2026-11-01 00:00:00'),
  ('deepseek-r1', 'deepseek', 1.5, -1, 'high', '2026-11-01 00:00:00'),
  ('capacity-only', 'acme', 0, 0, 0, '2026-11-01 00:00:00');

-- The account: the newest row of a period, whatever its tier.
INSERT INTO claude_account_analysis (timestamp, period_type, current_tier, recommended_tier, claude_cost_actual,
  claude_cost_if_pro, deepseek_cost_actual, projected_savings, transition_confidence) VALUES
  ('2026-11-20 00:00:00', 'daily', 'max', 'pro', 5, 4, 0.5, 1, 0.9),
  ('2026-11-21 00:00:00', 'daily', 'pro', NULL, 6, NULL, -1, -0.5, 1.5),
  ('2026-11-21 00:00:00', 'weekly', 'max', ' pro ', 40.5, 30.25, 0, 10, 0.75),
  ('2026-11-21 00:00:00', NULL, '', 'free', 'text', 0, 0.25, 2e6, NULL);

-- Patterns: 60 of which 50 are shown, equal impacts, impacts that cannot be used; one that is too old to be seen.
INSERT INTO pattern_analysis (timestamp, pattern_type, pattern_name, frequency, impact_score)
VALUES ('2026-11-01 00:00:00', 'failure', 'older than a thousand rows', 1, 9);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
INSERT INTO pattern_analysis (timestamp, pattern_type, pattern_name, frequency, impact_score)
SELECT '2026-11-20 00:00:00', 'routing', printf('p%02d', i % 55), i, (i % 55) / 5 / 10.0 FROM n;
INSERT INTO pattern_analysis (timestamp, pattern_type, pattern_name, frequency, impact_score) VALUES
  ('2026-11-21 00:00:00', 'success', 'p54', 7, 0.05),
  ('2026-11-21 00:00:00', NULL, 'no kind', 0, 0.85),
  ('2026-11-21 00:00:00', 'failure', ' ', -1, 0.95),
  ('2026-11-21 00:00:00', 'failure', 'no impact', 3, NULL),
  ('2026-11-21 00:00:00', 'failure', 'impact in words', 4, 'high');

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

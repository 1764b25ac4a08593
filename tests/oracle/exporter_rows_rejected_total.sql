-- {table, reason}: values that no metric may use ("Values" in counting.md), of the tables with a cursor.
-- The sample has none: this returns no row, and every rejection counter must be 0.
WITH number(tbl, value, top) AS (
  SELECT 'orchestration_sessions', completed_tasks, 1e6 FROM orchestration_sessions
  UNION ALL SELECT 'orchestration_sessions', failed_tasks, 1e6 FROM orchestration_sessions
  UNION ALL SELECT 'handoff_events', confidence_score, 1 FROM handoff_events
  UNION ALL SELECT 'handoff_events', tokens_used, 1e12 FROM handoff_events
  UNION ALL SELECT 'handoff_events', cost, 1e6 FROM handoff_events
  UNION ALL
  SELECT 'handoff_events', CASE WHEN typeof(savings) = 'text' THEN savings ELSE abs(savings) END, 1e6 FROM handoff_events
  UNION ALL SELECT 'handoff_events', cost + savings, 2e6 FROM handoff_events
  UNION ALL SELECT 'handoff_events', response_time, 1e9 FROM handoff_events
  UNION ALL SELECT 'subagent_invocations', execution_time, 1e9 FROM subagent_invocations
  UNION ALL SELECT 'subagent_invocations', tokens_used, 1e12 FROM subagent_invocations
  UNION ALL SELECT 'subagent_invocations', cost, 1e6 FROM subagent_invocations
  UNION ALL SELECT 'task_outcomes', execution_time, 1e9 FROM task_outcomes
  UNION ALL SELECT 'task_outcomes', quality_score, 5 FROM task_outcomes
  UNION ALL SELECT 'task_outcomes', cost, 1e6 FROM task_outcomes
  UNION ALL SELECT 'routing_decisions', confidence_score, 1 FROM routing_decisions
  UNION ALL SELECT 'routing_decisions', actual_cost, 1e6 FROM routing_decisions
  UNION ALL SELECT 'routing_decisions', actual_tokens, 1e12 FROM routing_decisions
  UNION ALL SELECT 'routing_decisions', actual_duration, 1e9 FROM routing_decisions
  UNION ALL SELECT 'model_performance', response_time, 1e9 FROM model_performance
  UNION ALL SELECT 'model_performance', quality_score, 1 FROM model_performance
  UNION ALL SELECT 'model_performance', error_count, 1e6 FROM model_performance
  UNION ALL SELECT 'model_performance', retry_count, 1e6 FROM model_performance
  UNION ALL SELECT 'claude_code_hooks', processing_time, 1e9 FROM claude_code_hooks
),
moment(tbl, value) AS (
  SELECT 'orchestration_sessions', start_time FROM orchestration_sessions
  UNION ALL SELECT 'orchestration_sessions', end_time FROM orchestration_sessions WHERE end_time IS NOT NULL
  UNION ALL SELECT 'handoff_events', timestamp FROM handoff_events
  UNION ALL SELECT 'subagent_invocations', timestamp FROM subagent_invocations
  UNION ALL SELECT 'task_outcomes', timestamp FROM task_outcomes
  UNION ALL SELECT 'routing_decisions', timestamp FROM routing_decisions
  UNION ALL SELECT 'model_performance', timestamp FROM model_performance
  UNION ALL SELECT 'claude_code_hooks', timestamp FROM claude_code_hooks
  UNION ALL SELECT 'live_activities', timestamp FROM live_activities
),
flag(tbl, value) AS (
  SELECT 'handoff_events', success FROM handoff_events
  UNION ALL SELECT 'subagent_invocations', success FROM subagent_invocations
  UNION ALL SELECT 'task_outcomes', success FROM task_outcomes
  UNION ALL SELECT 'routing_decisions', execution_success FROM routing_decisions
  UNION ALL SELECT 'claude_code_hooks', success FROM claude_code_hooks
),
json(tbl, value) AS (
  SELECT 'handoff_events', metadata FROM handoff_events
  UNION ALL SELECT 'subagent_invocations', metadata FROM subagent_invocations
)
SELECT tbl AS "table", reason, count(*) AS value
FROM (
  SELECT tbl, 'not_a_number' AS reason FROM number WHERE typeof(value) NOT IN ('integer', 'real', 'null')
  UNION ALL SELECT tbl, 'negative' FROM number WHERE value < 0
  UNION ALL SELECT tbl, 'out_of_range' FROM number WHERE value > top
  UNION ALL SELECT tbl, 'bad_time' FROM moment, clock
            WHERE strftime('%s', value) IS NULL OR CAST(strftime('%s', value) AS REAL) > now + 86400
  UNION ALL SELECT tbl, 'bad_flag' FROM flag WHERE value NOT IN (0, 1)
  UNION ALL SELECT tbl, 'bad_json' FROM json WHERE value IS NOT NULL AND NOT json_valid(value)
)
GROUP BY tbl, reason;

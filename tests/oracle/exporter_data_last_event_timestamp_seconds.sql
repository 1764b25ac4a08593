-- {table}: the newest event time; of an empty table, none. Not required of `once`; compared when it is printed.
SELECT *
FROM (
  SELECT 'orchestration_sessions' AS "table", CAST(strftime('%s', max(start_time)) AS REAL) AS value
  FROM orchestration_sessions
  UNION ALL SELECT 'handoff_events', CAST(strftime('%s', max(timestamp)) AS REAL) FROM handoff_events
  UNION ALL SELECT 'subagent_invocations', CAST(strftime('%s', max(timestamp)) AS REAL) FROM subagent_invocations
  UNION ALL SELECT 'task_outcomes', CAST(strftime('%s', max(timestamp)) AS REAL) FROM task_outcomes
  UNION ALL SELECT 'routing_decisions', CAST(strftime('%s', max(timestamp)) AS REAL) FROM routing_decisions
  UNION ALL SELECT 'model_performance', CAST(strftime('%s', max(timestamp)) AS REAL) FROM model_performance
  UNION ALL SELECT 'claude_code_hooks', CAST(strftime('%s', max(timestamp)) AS REAL) FROM claude_code_hooks
  UNION ALL SELECT 'live_activities', CAST(strftime('%s', max(timestamp)) AS REAL) FROM live_activities
)
WHERE value IS NOT NULL;

-- {table}: rows read, final or not, each once: of the eight tables that have a cursor.
SELECT 'orchestration_sessions' AS "table", count(*) AS value FROM orchestration_sessions
UNION ALL SELECT 'handoff_events', count(*) FROM handoff_events
UNION ALL SELECT 'subagent_invocations', count(*) FROM subagent_invocations
UNION ALL SELECT 'task_outcomes', count(*) FROM task_outcomes
UNION ALL SELECT 'routing_decisions', count(*) FROM routing_decisions
UNION ALL SELECT 'model_performance', count(*) FROM model_performance
UNION ALL SELECT 'claude_code_hooks', count(*) FROM claude_code_hooks
UNION ALL SELECT 'live_activities', count(*) FROM live_activities;

"""The platform's own tables and indexes, as its database declares them: 13 tables, 30 indexes.

Taken from the `sqlite_master` of a database the platform wrote, columns it added later by `ALTER TABLE`
included; only white space and comments differ.
"""

TABLES = """\
CREATE TABLE orchestration_sessions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT UNIQUE NOT NULL,
    start_time TIMESTAMP DEFAULT CURRENT_TIMESTAMP, end_time TIMESTAMP, project_name TEXT,
    task_description TEXT, total_tasks INTEGER DEFAULT 0, completed_tasks INTEGER DEFAULT 0,
    failed_tasks INTEGER DEFAULT 0, total_cost REAL DEFAULT 0, total_savings REAL DEFAULT 0, metadata TEXT,
    claude_tokens_used INTEGER DEFAULT 0, deepseek_tokens_used INTEGER DEFAULT 0,
    mcp_tool_invocations INTEGER DEFAULT 0
);
CREATE TABLE handoff_events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    task_type TEXT, task_description TEXT, source_model TEXT, target_model TEXT, handoff_reason TEXT,
    confidence_score REAL, tokens_used INTEGER, cost REAL, savings REAL, success BOOLEAN, response_time REAL,
    metadata TEXT, claude_tokens_used INTEGER DEFAULT 0, deepseek_tokens_used INTEGER DEFAULT 0,
    token_source TEXT DEFAULT 'claude', FOREIGN KEY (session_id) REFERENCES orchestration_sessions(session_id)
);
CREATE TABLE subagent_invocations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    agent_type TEXT, agent_name TEXT, trigger_phrase TEXT, task_description TEXT, parent_agent TEXT,
    execution_time REAL, success BOOLEAN, error_message TEXT, tokens_used INTEGER, cost REAL, metadata TEXT,
    mcp_tool_name TEXT, mcp_server_name TEXT, tool_category TEXT, estimated_tokens INTEGER DEFAULT 0,
    FOREIGN KEY (session_id) REFERENCES orchestration_sessions(session_id)
);
CREATE TABLE task_outcomes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    task_id TEXT, task_type TEXT, task_description TEXT, model_used TEXT, success BOOLEAN, error_type TEXT,
    error_message TEXT, execution_time REAL, tokens_used INTEGER, cost REAL, quality_score REAL,
    user_feedback TEXT, metadata TEXT, FOREIGN KEY (session_id) REFERENCES orchestration_sessions(session_id)
);
CREATE TABLE cost_metrics (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP, period_type TEXT,
    period_start TIMESTAMP, period_end TIMESTAMP, total_cost REAL, claude_cost REAL, deepseek_cost REAL,
    other_cost REAL, total_savings REAL, total_tokens INTEGER, claude_tokens INTEGER, deepseek_tokens INTEGER,
    total_tasks INTEGER, successful_tasks INTEGER, failed_tasks INTEGER, routing_accuracy REAL, metadata TEXT
);
CREATE TABLE claude_account_analysis (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP, period_type TEXT,
    period_start TIMESTAMP, period_end TIMESTAMP, current_tier TEXT, claude_tokens_used INTEGER,
    deepseek_tokens_used INTEGER, total_interactions INTEGER, claude_cost_actual REAL,
    claude_cost_if_pro REAL, deepseek_cost_actual REAL, combined_effectiveness_score REAL,
    max_tier_equivalent_score REAL, recommended_tier TEXT, projected_savings REAL, transition_confidence REAL,
    metadata TEXT
);
CREATE TABLE pattern_analysis (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP, pattern_type TEXT,
    pattern_name TEXT, description TEXT, frequency INTEGER, confidence REAL, impact_score REAL,
    recommendations TEXT, metadata TEXT
);
CREATE TABLE token_budgets (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT NOT NULL, project_name TEXT,
    initial_budget INTEGER DEFAULT 5000, current_budget INTEGER DEFAULT 5000,
    claude_tokens_used INTEGER DEFAULT 0, deepseek_tokens_used INTEGER DEFAULT 0,
    other_tokens_used INTEGER DEFAULT 0, budget_exhausted BOOLEAN DEFAULT FALSE,
    priority_level TEXT DEFAULT 'medium', created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (session_id) REFERENCES orchestration_sessions(session_id)
);
CREATE TABLE model_capacity_thresholds (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model_name TEXT NOT NULL, vendor TEXT NOT NULL,
    capacity_threshold REAL DEFAULT 0.8, cost_per_token REAL DEFAULT 0.0, quality_score REAL DEFAULT 1.0,
    speed_score REAL DEFAULT 1.0, availability_score REAL DEFAULT 1.0,
    last_updated TIMESTAMP DEFAULT CURRENT_TIMESTAMP, metadata TEXT
);
CREATE TABLE routing_decisions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    task_description TEXT, task_complexity TEXT, quality_requirement REAL, speed_requirement TEXT,
    cost_budget REAL, selected_model TEXT, selected_vendor TEXT, routing_score REAL, routing_factors TEXT,
    alternatives_considered TEXT, confidence_score REAL, execution_success BOOLEAN, actual_cost REAL,
    actual_tokens INTEGER, actual_duration REAL, user_satisfaction REAL, metadata TEXT,
    FOREIGN KEY (session_id) REFERENCES orchestration_sessions(session_id)
);
CREATE TABLE model_performance (
    id INTEGER PRIMARY KEY AUTOINCREMENT, model_name TEXT NOT NULL, vendor TEXT NOT NULL, task_type TEXT,
    complexity_level TEXT, timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP, response_time REAL,
    tokens_used INTEGER, cost REAL, quality_score REAL, success_rate REAL, error_count INTEGER DEFAULT 0,
    retry_count INTEGER DEFAULT 0, user_rating REAL, project_context TEXT, metadata TEXT
);
CREATE TABLE claude_code_hooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT, session_id TEXT, hook_type TEXT,
    timestamp TIMESTAMP DEFAULT CURRENT_TIMESTAMP, trigger_event TEXT, hook_data TEXT, processing_time REAL,
    success BOOLEAN DEFAULT TRUE, error_message TEXT, metadata TEXT,
    FOREIGN KEY (session_id) REFERENCES orchestration_sessions(session_id)
);
CREATE TABLE live_activities (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event_type TEXT NOT NULL, session_id TEXT, data JSON NOT NULL,
    timestamp DATETIME DEFAULT CURRENT_TIMESTAMP, processed BOOLEAN DEFAULT FALSE, priority INTEGER DEFAULT 1
);
"""

INDEXES = """\
CREATE INDEX idx_sessions_start_time_desc ON orchestration_sessions(start_time DESC);
CREATE INDEX idx_sessions_project_time ON orchestration_sessions(project_name, start_time DESC);
CREATE INDEX idx_sessions_time ON orchestration_sessions(start_time);
CREATE INDEX idx_handoffs_timestamp_desc ON handoff_events(timestamp DESC);
CREATE INDEX idx_handoffs_session ON handoff_events(session_id);
CREATE INDEX idx_handoffs_time ON handoff_events(timestamp);
CREATE INDEX idx_handoffs_target_model ON handoff_events(target_model, timestamp DESC);
CREATE INDEX idx_subagents_timestamp_desc ON subagent_invocations(timestamp DESC);
CREATE INDEX idx_subagents_session ON subagent_invocations(session_id);
CREATE INDEX idx_subagents_type ON subagent_invocations(agent_type);
CREATE INDEX idx_subagents_name_time ON subagent_invocations(agent_name, timestamp DESC);
CREATE INDEX idx_outcomes_session ON task_outcomes(session_id);
CREATE INDEX idx_outcomes_timestamp ON task_outcomes(timestamp DESC);
CREATE INDEX idx_cost_period_start ON cost_metrics(period_start DESC);
CREATE INDEX idx_cost_period_type ON cost_metrics(period_type, period_start DESC);
CREATE INDEX idx_pattern_timestamp ON pattern_analysis(timestamp DESC);
CREATE INDEX idx_pattern_type_time ON pattern_analysis(pattern_type, timestamp DESC);
CREATE INDEX idx_metrics_period ON cost_metrics(period_type, period_start);
CREATE INDEX idx_token_budgets_session ON token_budgets(session_id);
CREATE INDEX idx_token_budgets_project ON token_budgets(project_name, updated_at DESC);
CREATE INDEX idx_model_capacity_vendor ON model_capacity_thresholds(vendor, model_name);
CREATE INDEX idx_routing_decisions_session ON routing_decisions(session_id, timestamp DESC);
CREATE INDEX idx_routing_decisions_model ON routing_decisions(selected_model, timestamp DESC);
CREATE INDEX idx_model_performance_model ON model_performance(model_name, vendor, timestamp DESC);
CREATE INDEX idx_model_performance_task_type
    ON model_performance(task_type, complexity_level, timestamp DESC);
CREATE INDEX idx_claude_hooks_session ON claude_code_hooks(session_id, timestamp DESC);
CREATE INDEX idx_claude_hooks_type ON claude_code_hooks(hook_type, timestamp DESC);
CREATE INDEX idx_activity_timestamp ON live_activities(timestamp DESC);
CREATE INDEX idx_activity_event_type ON live_activities(event_type);
CREATE INDEX idx_activity_session ON live_activities(session_id);
"""

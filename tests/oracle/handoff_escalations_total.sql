-- {project, reason}: final hand-offs to a paid model, each at most once. `unavailable` by its reason; else `retry`,
-- where the hand-off before it by id, of the same session (one that has a row) and task type, was local and failed,
-- and both have their results (a timed-out one its deadline) while the session's histograms observe. A project with
-- a hand-off has both reasons.
WITH chain AS (
  SELECT
    h.*,
    lag(h.model) OVER before AS model_before,
    lag(h.outcome) OVER before AS outcome_before,
    lag(h.result_at) OVER before AS result_at_before
  FROM handoff AS h
  WINDOW before AS (PARTITION BY h.session_id, h.task_type ORDER BY h.id)
),
escalation AS (
  SELECT
    c.project,
    CASE
      WHEN c.reason = 'deepseek_unavailable' THEN 'unavailable'
      WHEN c.model_before LIKE 'deepseek%' AND c.outcome_before = 'failure'
        AND c.result_at <= s.observed_until AND c.result_at_before <= s.observed_until THEN 'retry'
    END AS reason
  FROM chain AS c
  LEFT JOIN session AS s ON s.session_id = c.session_id
  WHERE c.outcome IS NOT NULL AND c.model LIKE 'claude%'
)
SELECT p.project, r.reason, count(e.project) AS value
FROM (SELECT DISTINCT project FROM handoff) AS p
CROSS JOIN (SELECT column1 AS reason FROM (VALUES ('retry'), ('unavailable'))) AS r
LEFT JOIN escalation AS e ON e.project = p.project AND e.reason = r.reason
GROUP BY p.project, r.reason;

-- {tier, period, basis}: the newest row of each period; absent where the value cannot be used.
SELECT tier, period, basis, value
FROM (
  SELECT tier, period, 'actual' AS basis, claude_cost_actual AS value FROM account
  UNION ALL SELECT tier, period, 'if_pro', claude_cost_if_pro FROM account
  UNION ALL SELECT tier, period, 'local', deepseek_cost_actual FROM account
)
WHERE typeof(value) IN ('integer', 'real') AND value BETWEEN 0 AND 1e6;

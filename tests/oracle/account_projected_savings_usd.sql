-- {tier, recommended_tier, period}: the newest row of each period; absent where the value cannot be used.
SELECT tier, recommended_tier, period, projected_savings AS value
FROM account
WHERE typeof(projected_savings) IN ('integer', 'real') AND abs(projected_savings) <= 1e6;

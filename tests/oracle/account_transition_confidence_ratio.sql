-- {tier, recommended_tier, period}: the newest row of each period; absent where the value cannot be used.
SELECT tier, recommended_tier, period, transition_confidence AS value
FROM account
WHERE typeof(transition_confidence) IN ('integer', 'real') AND transition_confidence BETWEEN 0 AND 1;

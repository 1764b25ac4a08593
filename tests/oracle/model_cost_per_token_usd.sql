-- {model}: cost_per_token of the model's newest row, USD; absent where it cannot be used.
SELECT model, cost_per_token AS value
FROM capacity
WHERE typeof(cost_per_token) IN ('integer', 'real') AND cost_per_token BETWEEN 0 AND 1e6;

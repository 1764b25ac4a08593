-- {model}: capacity_threshold of the model's newest row, a ratio; absent where it cannot be used.
SELECT model, capacity_threshold AS value
FROM capacity
WHERE typeof(capacity_threshold) IN ('integer', 'real') AND capacity_threshold BETWEEN 0 AND 1;

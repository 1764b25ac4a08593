-- {model}: availability_score of the model's newest row, a ratio; absent where it cannot be used.
SELECT model, availability_score AS value
FROM capacity
WHERE typeof(availability_score) IN ('integer', 'real') AND availability_score BETWEEN 0 AND 1;

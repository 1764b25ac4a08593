-- {budget}: as declared. The test makes the temporary table declared(budget, project, model, period, limit_usd), with
-- NULL for what the scope does not name.
SELECT budget, limit_usd AS value
FROM declared;

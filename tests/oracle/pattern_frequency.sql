-- {pattern, kind}: of the 50 patterns of most impact, those whose frequency can be used.
SELECT pattern, kind, frequency AS value
FROM pattern
WHERE frequency IS NOT NULL;

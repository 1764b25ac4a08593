-- {pattern, kind}: of the 50 patterns of most impact, those whose impact can be used.
SELECT pattern, kind, impact AS value
FROM pattern
WHERE impact IS NOT NULL;

"""The Grafana dashboards, as code: questions and queries in, provisioned JSON and their documentation out.

`panels` is what a dashboard file is written in, `questions` the idioms of its queries, `board` the layout and what
all dashboards share, `classic` the JSON that Grafana gets. Each dashboard is a file of its own; `house` has them all.
"""

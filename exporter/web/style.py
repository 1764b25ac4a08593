"""The style sheet of all pages: light and dark, wide and narrow. Its hash is in the pages' security policy."""

STYLE = """
:root { color-scheme: light dark; --ink: #171b21; --soft: #59626e; --back: #f4f5f7; --card: #ffffff;
  --line: #e1e4e9; --fill: #e9ecf1; --link: #1d55c4; --spend: #3f6fd8; --save: #1d8a5f; --good: #11683a;
  --bad: #b0231b; --busy: #7d4d00; --goodback: #e2f4ea; --badback: #fde8e6; --busyback: #fcefd8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf0; --soft: #a3acb8; --back: #101317; --card: #181c22;
  --line: #2b313a; --fill: #272d36; --link: #8bb6ff; --spend: #7ba6ff; --save: #4fc392; --good: #6fd79d;
  --bad: #ff978f; --busy: #f3be69; --goodback: #16301f; --badback: #3a1a18; --busyback: #362812; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 0 1.5rem 2rem; max-width: 76rem; background: var(--back); color: var(--ink);
  font: .9375rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  font-variant-numeric: tabular-nums; }
a { color: var(--link); text-underline-offset: .15em; text-decoration-thickness: 1px; }
a:focus-visible, summary:focus-visible, [tabindex="0"]:focus-visible { outline: 2px solid var(--link);
  outline-offset: 2px; border-radius: 2px; }
main:focus { outline: none; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: .5rem; background: var(--card);
  padding: .5rem .75rem; z-index: 1; }
.soft, .note, .sub, footer { color: var(--soft); } .nowrap { white-space: nowrap; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.top { display: flex; flex-wrap: wrap; gap: .25rem 2rem; align-items: center; justify-content: space-between;
  padding: 1rem 0; }
.brand { display: flex; gap: .625rem; align-items: center; font-weight: 650; } .mark { fill: var(--spend);
  flex: none; }
h1, .brand a { font-size: 1.0625rem; margin: 0; } .brand a { color: inherit; text-decoration: none; }
.brand a:hover { text-decoration: underline; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0; padding: 0; list-style: none; }
nav a, footer a { display: inline-block; padding: .25rem 0; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; padding: 1.125rem 1.25rem;
  margin: 0 0 1rem; min-width: 0; }
.head { display: flex; flex-wrap: wrap; gap: .125rem 1rem; align-items: baseline; justify-content: space-between;
  margin-bottom: .75rem; }
h2 { margin: 0; font-size: .9375rem; font-weight: 650; } h3 { margin: 0; font-size: .9375rem; font-weight: 600; }
.note { margin: 0; font-size: .8125rem; }
.columns { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1rem; }
.columns > section { display: flex; flex-direction: column; } .columns figure { flex: 1; }

.pill { display: inline-block; border-radius: 1rem; padding: 0 .625rem; font-size: .8125rem; font-weight: 600;
  white-space: nowrap; }
.good { color: var(--good); background: var(--goodback); } .bad { color: var(--bad); background: var(--badback); }
.busy { color: var(--busy); background: var(--busyback); } .plain { color: var(--soft); background: var(--fill); }
.sources { margin: 0; padding: 0; list-style: none; }
.sources li + li { border-top: 1px solid var(--line); margin-top: .625rem; padding-top: .625rem; }
.row { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; align-items: baseline; }
.row h3 { display: flex; gap: .625rem; align-items: baseline; flex: 1 1 14rem; min-width: 0;
  overflow-wrap: anywhere; }
.said { margin: .375rem 0 0; overflow-wrap: anywhere; border-left: 3px solid; padding: .25rem .75rem;
  border-radius: .25rem; }

.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 1rem 1.5rem; margin: 0; }
.tile { min-width: 0; } dt { color: var(--soft); font-size: .8125rem; } dd { margin: 0; overflow-wrap: anywhere; }
.big { font-size: 1.6875rem; line-height: 1.25; font-weight: 620; letter-spacing: -.015em; white-space: nowrap; }
.sub { font-size: .8125rem; } .tiles + .tiles { margin-top: 1.25rem; }
.small .big { font-size: 1rem; line-height: 1.5; font-weight: 500; letter-spacing: 0; white-space: normal; }
.budgets { list-style: none; margin: 1.25rem 0 0; padding: 1rem 0 0; border-top: 1px solid var(--line);
  display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem 2rem; }
.budgets .row { justify-content: space-between; gap: 0 1rem; } .budgets { overflow-wrap: anywhere; }
.meter { display: block; width: 100%; height: .5rem; margin: .375rem 0; border-radius: .25rem; }
.track { fill: var(--fill); } .spend { fill: var(--spend); } .save { fill: var(--save); } .over { fill: var(--bad); }
.near { fill: var(--busy); } .mark-line { fill: var(--ink); }
.overtext { color: var(--bad); font-weight: 600; }

figure { margin: 0; } .plot { display: grid; grid-template-columns: auto 1fr; gap: .25rem .5rem; }
.plot .bars { width: 100%; height: 9rem; display: block; }
.scale { width: 3rem; height: 9rem; overflow: visible; } .scale text { font-size: 12px; fill: var(--soft);
  text-anchor: end; dominant-baseline: central; }
.dates { font-size: .75rem; color: var(--soft); line-height: 1; }
.dates { grid-column: 2; display: flex; justify-content: space-between; }
.grid { fill: var(--line); } .total { font-size: 1.375rem; font-weight: 620; margin: 0 0 .75rem; line-height: 1.25; }
details { margin-top: .75rem; font-size: .8125rem; } summary { cursor: pointer; color: var(--link); padding: .25rem 0; }

.scroll { overflow-x: auto; } details .scroll { max-height: 16rem; overflow-y: auto; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; padding: .4375rem 1rem .4375rem 0; border-bottom: 1px solid var(--line);
  vertical-align: baseline; font-weight: inherit; }
tr > :last-child { padding-right: 0; } tbody tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-size: .8125rem; white-space: nowrap; }
.num { text-align: right; white-space: nowrap; } .num + * { padding-left: 1rem; }
.any { overflow-wrap: anywhere; min-width: 5rem; }
td.who { font-weight: 550; } .id { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  font-size: .8125rem; overflow-wrap: anywhere; font-variant-ligatures: none; }
.span { width: 100%; min-width: 6rem; height: .5rem; display: block; }
.title { font-size: 1.375rem; font-weight: 620; margin: 0 0 .75rem; overflow-wrap: anywhere; line-height: 1.3; }
.title + .row { margin-bottom: 1.25rem; } .title .id { font-size: 1.0625rem; font-weight: 500; }
caption { text-align: left; color: var(--soft); font-size: .8125rem; padding-bottom: .25rem; }
.source + .source { border-top: 1px solid var(--line); margin-top: 1.25rem; padding-top: 1.25rem; }
.source p { margin: .125rem 0 1rem; overflow-wrap: anywhere; } .source .scroll { margin-top: 1.25rem; }
.source .scroll { max-width: 44rem; }
.reference th[scope="row"] { min-width: 15rem; } .means { display: block; }
.left { padding-left: 1.125rem; margin: .25rem 0 0; } .source .note { margin: 1.25rem 0 0; }
footer { display: flex; flex-wrap: wrap; gap: 0 1.5rem; justify-content: space-between; font-size: .8125rem;
  padding-top: .5rem; } footer p { margin: .25rem 0; }

@media (max-width: 56rem) { .columns { grid-template-columns: 1fr; } .span, .spancell { display: none; } }
@media (max-width: 44rem) {
  body { padding: 0 .875rem 1.5rem; } section { padding: 1rem; border-radius: .625rem; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(7.5rem, 1fr)); gap: 1rem; } .big { font-size: 1.5rem; }
  .source thead th { white-space: normal; }
  .events thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .events, .events tbody { display: block; }
  .events tr { display: grid; grid-template-columns: auto auto 1fr auto;
    grid-template-areas: "who who who outcome" "time kind kind took" "about about last last" "of of of of";
    gap: 0 .75rem; padding: .625rem 0; border-bottom: 1px solid var(--line); }
  .events tbody tr:last-child { border-bottom: 0; padding-bottom: 0; }
  .events tr > * { display: block; border: 0; padding: 0; text-align: left; min-width: 0; font-size: .8125rem; }
  .events .who { grid-area: who; font-size: .9375rem; } .events .outcome { grid-area: outcome; text-align: right; }
  .events .time { grid-area: time; } .events .kind { grid-area: kind; } .events .took { grid-area: took; }
  .events .about { grid-area: about; } .events .last { grid-area: last; } .events .of { grid-area: of; }
  .events .took, .events .last { text-align: right; } .events .time, .events .kind, .events .took, .events .about,
  .events .of { color: var(--soft); } .events .empty, .events .spancell { display: none; }
}
"""

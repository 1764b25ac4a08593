"""Dashboards against Grafana's own types and code, by node: what TypeScript says of them, what colour a value has.

Grafana's `@grafana/schema` has types of a dashboard, and of each kind of panel's options and `custom` fields. Its
enumerations are strings in JSON; `Json` makes them so. `@grafana/data` has the code that picks a colour.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.realtools import Missing
from tools.bring import cache_folder, grafana_folder

ANSWER_S = 120.0
_PANELS = {
    "bargauge": "bargauge",
    "heatmap": "heatmap",
    "nodeGraph": "nodegraph",
    "stat": "stat",
    "state-timeline": "statetimeline",
    "table": "table",
    "text": "text",
    "timeseries": "timeseries",
}
"""Kinds of panel, and the folders that have their types."""
_WITH_FIELDS = ("heatmap", "state-timeline", "table", "timeseries")
_TYPES = "@grafana/schema/dist/types"
_HEAD = """
import type {{ Dashboard, Panel, RowPanel, AnnotationQuery }} from '{types}/veneer/dashboard.types';
import type {{ DashboardLink }} from '{types}/raw/dashboard/x/types.gen';
{imports}
type Json<T> = T extends string ? `${{T}}`
  : T extends number ? (`${{T}}` extends `${{infer N extends number}}` ? N : never)
  : T extends (infer U)[] ? Json<U>[]
  : T extends object ? {{ [K in keyof T]: Json<T[K]> }} : T;
// a panel's link has a title and an address, where the schema has it as a dashboard's, with all its choices
type Linked = Omit<Panel, 'links'> & {{ links?: Partial<DashboardLink>[] }};
// what the schema leaves to the plugin of the data source
type OfPrometheus = AnnotationQuery & {{
  expr?: string; step?: string; titleFormat?: string; textFormat?: string; tagKeys?: string; useValueForTime?: boolean;
}};
type Classic = Omit<Dashboard, 'panels' | 'annotations'> & {{
  panels: (Linked | RowPanel)[]; annotations: {{ list: OfPrometheus[] }};
}};
"""
_COLOURS = """
import {{ getActiveThreshold }} from '{thresholds}';
const asked = JSON.parse(process.argv[2]);
// as setFieldConfigDefaults does before anything is looked up: JSON has no infinity
const based = (step) => (step.value === null ? {{ ...step, value: -Infinity }} : step);
console.log(JSON.stringify(asked.map(([value, steps]) => getActiveThreshold(value, steps.map(based)).color)));
"""


@dataclass(frozen=True, slots=True)
class Grafana:
    """Node, and where Grafana's packages and TypeScript are."""

    node: Path
    folder: Path

    def __str__(self) -> str:
        return "grafana-types"

    def complaints(self, dashboards: Iterable[Mapping[str, Any]], folder: Path) -> list[str]:
        """What TypeScript says of dashboards, a line each."""
        (folder / "node_modules").symlink_to(self.folder / "node_modules")
        (folder / "dashboards.ts").write_text(_typescript(dashboards))
        options = {
            "noEmit": True,
            "strict": True,
            "skipLibCheck": True,
            "types": [],
            "target": "es2022",
            "module": "esnext",
            "moduleResolution": "bundler",
            "baseUrl": ".",
            "paths": {
                f"{_TYPES}/*": [f"node_modules/{_TYPES}/*"],
                "@grafana/schema": [f"node_modules/{_TYPES}/index.d.ts"],
            },
        }
        (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options, "files": ["dashboards.ts"]}))
        compiler = self.folder / "node_modules" / "typescript" / "lib" / "tsc.js"
        done = subprocess.run(
            [self.node, compiler, "-p", folder], cwd=folder, capture_output=True, text=True, timeout=ANSWER_S
        )
        found = [line for line in done.stdout.splitlines() if not line.startswith(" ")]  # without its reasons
        return found if found or done.returncode == 0 else [done.stderr]

    def colours(self, asked: Sequence[tuple[float, Sequence[Mapping[str, Any]]]], folder: Path) -> list[str]:
        """The colour that Grafana gives each value by the steps beside it.

        Raises: CalledProcessError.
        """
        thresholds = self.folder / "node_modules" / "@grafana" / "data" / "dist" / "esm" / "field" / "thresholds.mjs"
        script = folder / "colours.mjs"
        script.write_text(_COLOURS.format(thresholds=thresholds.as_uri()))
        done = subprocess.run(
            [self.node, script, json.dumps(asked)], capture_output=True, text=True, check=True, timeout=ANSWER_S
        )
        found: list[str] = json.loads(done.stdout)
        return found


def wanted_grafana() -> list[Grafana | Missing]:
    """What a test with Grafana's types runs on."""
    node, folder = shutil.which("node"), grafana_folder(cache_folder())
    missing = [*([] if node else ["node"]), *([] if folder.is_dir() else ["Grafana's types"])]
    return [Missing(" and ".join(missing))] if missing else [Grafana(Path(str(node)), folder)]


def _typescript(dashboards: Iterable[Mapping[str, Any]]) -> str:
    """Each dashboard, each panel's options and fields as constants of their types."""
    imports = "\n".join(
        f"import type * as {name} from '{_TYPES}/raw/composable/{name}/panelcfg/x/types.gen';"
        for name in _PANELS.values()
    )
    lines = [_HEAD.format(types=_TYPES, imports=imports)]
    for number, made in enumerate(dashboards):
        lines.append(f"export const dashboard_{number}: Json<Classic> = {json.dumps(made)};")
        for panel in made["panels"]:
            if panel["type"] == "row":
                continue
            kind, name = _PANELS[panel["type"]], f"{number}_{panel['id']}"
            lines.append(f"export const options_{name}: Json<{kind}.Options> = {json.dumps(panel['options'])};")
            custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom")
            if panel["type"] in _WITH_FIELDS and custom is not None:
                lines.append(f"export const fields_{name}: Json<{kind}.FieldConfig> = {json.dumps(custom)};")
    return "\n".join(lines)

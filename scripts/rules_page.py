"""Write docs/rules.md from the rules' own words: what each says, its condition and parameters."""

from __future__ import annotations

import inspect
from pathlib import Path

from houndsight.debugger.rules import GROUPS, RULES, Rule
from houndsight.debugger.rules.unsupported import UNSUPPORTED

PAGE = Path(__file__).resolve().parents[1] / "docs" / "rules.md"
HEADER = """# The debugger's rules

Made by `python scripts/rules_page.py` from `src/houndsight/debugger/rules`; change it there.

A rule looks at what was recorded of a training and gives findings, each with its likeliest cause
and the change to make. Left alone it judges by a condition that is built to be silent on healthy
trainings; a parameter that you set makes it apply the documented condition with your value. The
documented default is what SageMaker Debugger would use, or ours where it has no such parameter;
all values may be strings. `rules="default"` is all of these; choose some by
`rules="VanishingGradient,Overfit"`, or with parameters by
`rules={"VanishingGradient": {"threshold": "1e-6"}}`.
"""


def page() -> str:
    """The whole text of docs/rules.md."""
    parts = [HEADER]
    for group, modules in GROUPS.items():
        rules = [r for r in RULES.values() if r.__module__.rsplit(".", 1)[1] in modules]
        if rules:
            parts.append(f"## {group}\n")
            parts += [_section(rule) for rule in rules]
    parts.append("## Rules that answer an error\n")
    parts += [f"- `{name}`: {inspect.getdoc(rule)}" for name, rule in UNSUPPORTED.items()]
    return "\n".join(parts) + "\n\nThey judge trees or texts, which a network for images has not.\n"


def _section(rule: type[Rule]) -> str:
    # Paragraphs on one line each, so that they read and diff as paragraphs.
    paragraphs = (inspect.getdoc(rule) or "").split("\n\n")
    text = "\n\n".join(p if p.startswith(("-", "|", " ")) else _joined(p) for p in paragraphs)
    return f"### {rule.name}\n\n{text}\n{_table(rule)}"


def _joined(paragraph: str) -> str:
    return " ".join(line.strip() for line in paragraph.splitlines())


def _table(rule: type[Rule]) -> str:
    if not rule.parameters:
        return ""
    rows = ["| parameter | documented default | meaning |", "|---|---|---|"]
    for name, parameter in rule.parameters.items():
        default = "none" if parameter.documented is None else f"`{parameter.documented}`"
        if parameter.documented == "":
            default = "empty"
        rows.append(f"| `{name}` | {_cell(default)} | {_cell(parameter.help)} |")
    return "\n" + "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Write `docs/protocols.rst`: what each protocol takes and gives, from its form and its outputs.

    python docs/protocol_tables.py

A test fails where the page is not what the forms say now.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "demo"))

from forms import Field, list_fields, list_protocols

PAGE = Path(__file__).resolve().with_name("protocols.rst")
INTRODUCTION = """\
Parameters of the protocols
===========================

What each protocol takes and gives, as its form defines it: the name by which a script sets a field, its label, its
default, and what its help says. *Expert* fields are folded away until the expert level is *Advanced*.
``docs/scipion.rst`` shows the forms, ``docs/scripts.rst`` runs them without a screen. This page is written by::

    python docs/protocol_tables.py
"""
#: Scipion's own fields, which are the machine's matter: said once, below the tables.
OF_SCIPION = ("hostName", "numberOfThreads", "binThreads", "useGpu", "gpuList")
FOOT = """\
Every protocol but *import model* and *select particles* takes ``numberOfThreads``, the processor threads of the engine;
*denoise particles*, *train denoiser*, *adapt denoiser* and *evaluate* take ``useGpu`` and ``gpuList``. Without a GPU
they run on the processor and say so.
"""
KINDS = {
    "IntParam": "whole number",
    "FloatParam": "number",
    "BooleanParam": "Yes or No",
    "StringParam": "text",
    "PathParam": "path",
}


def write_page() -> str:
    """Write the page."""
    parts = [INTRODUCTION]
    for protocol in list_protocols().values():
        parts.append(describe_protocol(protocol))
    return "\n".join([*parts, FOOT])


def describe_protocol(protocol: Any) -> str:
    """Write the section of one protocol: its class, its inputs, its other parameters, its outputs."""
    title = protocol._label
    fields = [one for one in list_fields(protocol().getDefinition()) if one.name not in OF_SCIPION]
    inputs = [one for one in fields if one.takes]
    others = [one for one in fields if not one.takes]
    words = {one.name: one for one in fields}
    lines = [
        title,
        "-" * len(title),
        "",
        f"``{protocol.__name__}``: {first_sentence(protocol)}",
        "",
    ]
    if inputs:
        rows = [describe_input(one, words) for one in inputs]
        lines += make_table("Inputs", ("name", "label", "takes", "what"), rows, (20, 20, 20, 40))
    rows = [describe_parameter(one, words) for one in others]
    lines += make_table(
        "Parameters", ("name", "label", "default, and choices", "what"), rows, (18, 18, 19, 45)
    )
    outputs = protocol._possibleOutputs
    given = outputs.items() if isinstance(outputs, dict) else ((o.name, o.value) for o in outputs)
    rows = [(f"``{name}``", f"``{kind.__name__}``") for name, kind in given]
    lines += make_table("Outputs", ("name", "class"), rows, (40, 60))
    return "\n".join(lines)


def first_sentence(protocol: Any) -> str:
    """Take the first paragraph of what the class says of itself, on one line, as rst."""
    paragraph = (protocol.__doc__ or "").strip().split("\n\n")[0]
    text = to_rst(" ".join(paragraph.split()))
    return text[0].lower() + text[1:]


def describe_input(field: Field, fields: dict[str, Field]) -> tuple[str, ...]:
    """Describe a pointer: name, label, what it takes, what it is for."""
    takes = " or ".join(f"``{one}``" for one in re.findall(r"\w+", field.takes))
    several = "; several" if field.kind == "MultiPointerParam" else ""
    needed = "" if field.is_important or not field.may_be_empty else "; may be empty"
    return (f"``{field.name}``", field.label, takes + several + needed, explain(field, fields))


def describe_parameter(field: Field, fields: dict[str, Field]) -> tuple[str, ...]:
    """Describe what is not a pointer: name, label, default and choices, what it means."""
    label = f"{field.label} (expert)" if field.is_expert else field.label
    return (f"``{field.name}``", label, word_default(field), explain(field, fields))


def word_default(field: Field) -> str:
    """Word a default: of a choice its number and its name, and the others behind it."""
    if field.choices:
        named = [f"{number} *{name}*" for number, name in enumerate(field.choices)]
        first = int(field.default or 0)
        others = [one for one in named if one != named[first]]
        return "; or ".join([named[first], ", ".join(others)]) if others else named[first]
    if field.kind == "BooleanParam":
        return "*Yes* (True)" if field.default == "True" else "*No* (False)"
    kind = KINDS[field.kind]
    return f"``{field.default}`` ({kind})" if field.default else f"empty ({kind})"


def explain(field: Field, fields: dict[str, Field]) -> str:
    """Give the help of a field, and when it is shown."""
    parts = [to_rst(" ".join(field.help.split()))]
    if field.condition and field.condition != "False":
        parts.append(f"Shown where {word_condition(field.condition, fields)}.")
    return " ".join(filter(None, parts))


def word_condition(condition: str, fields: dict[str, Field]) -> str:
    """Put a condition into the words of the form: `source==1` becomes *Molecule from* is *map*."""

    def compare(found: re.Match[str]) -> str:
        field = fields.get(found[1])
        if field is None:
            return found[0]
        relation = "is" if found[2] == "==" else "is not"
        return f"*{field.label}* {relation} *{field.choices[int(found[3])]}*"

    def answer(found: re.Match[str]) -> str:
        field = fields.get(found[2])
        return f"*{field.label}* is *{'No' if found[1] else 'Yes'}*" if field else found[0]

    worded = re.sub(r"(\w+)\s*(==|!=)\s*(\d+)", compare, condition)
    # What stands between stars is worded already.
    pieces = re.split(r"(\*[^*]*\*)", worded)
    pieces[::2] = [re.sub(r"(not )?\b([a-z]+[A-Z]\w*)\b", answer, piece) for piece in pieces[::2]]
    return "".join(pieces).replace("(", "").replace(")", "")


def to_rst(text: str) -> str:
    """Turn Scipion's marks into those of rst: its single backticks are code."""
    return re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", text)


def make_table(
    caption: str, header: tuple[str, ...], rows: list[tuple[str, ...]], widths: tuple[int, ...]
) -> list[str]:
    """Make a list table of rst, a paragraph a cell."""
    lines = [f".. list-table:: {caption}", "   :header-rows: 1"]
    lines += [f"   :widths: {' '.join(map(str, widths))}", ""]
    for row in (header, *rows):
        for place, cell in enumerate(row):
            lines.append(f"   {'*' if place == 0 else ' '} -{' ' + cell if cell else ''}")
    return [*lines, ""]


def main() -> None:
    """Write the page into its place."""
    from headless import prepare_scipion

    with tempfile.TemporaryDirectory() as folder:
        prepare_scipion(Path(folder))
        PAGE.write_text(write_page(), encoding="utf-8")
    print(f"{PAGE.name}: written")


if __name__ == "__main__":
    main()

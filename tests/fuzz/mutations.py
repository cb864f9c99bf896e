"""Changes to bytes, to JSON and to the tokens of a STAR file, each drawn from a generator of random numbers."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

#: Numbers at the edges of types and of sense.
NUMBERS = (
    *("0", "-0", "-1", "1", "2", "3", "65535", "65536", "2147483647", "-2147483648", "4294967296"),
    *("9223372036854775807", "1e-320", "1e-30", "1e30", "1e308", "1e400", "-1e30", "nan", "-nan"),
    *("inf", "-inf", "NaN", "None", "null", "", "0x10", "1_0", "١٢", "1,5", "true", "9" * 5000),
)
#: Text that means something to somebody.
WORDS = (
    *(
        "data_",
        "data_particles",
        "loop_",
        "_rlnImageName",
        "#",
        "'",
        '"',
        "' \"",
        ";",
        "$x",
        "save_",
    ),
    *("1@", "@", "0@a.mrcs", "1@stack.mrcs", "99999999999999999999@stack.mrcs", "1@/dev/zero"),
    *("../x", "/dev/null", "/etc/passwd", "a b", "\ufeff", "\u2028", "\x85", "\x1c", "x" * 70_000),
)
#: What JSON can hold in the place of anything.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e308, 10**20, 2**63, 10**6, 96, 4096, "", "x"),
    *([], {}, [[]], [1, 2], ["a"], {"a": 1}, "polar-transformer", "\ud800", "../../x", 10**400),
)
BYTES_THAT_MATTER = (0, 1, 2, 3, 6, 12, 0x7F, 0x80, 0xFF, ord("\n"), ord(" "), ord('"'), ord("\t"))


def mutate_bytes(
    raw: bytes, generator: random.Random, first: int = 0, last: int | None = None
) -> bytes:
    """Change some bytes, from `first` up to `last`: set, insert, remove, repeat, cut, or overwrite a word."""
    changed = bytearray(raw)
    last = len(changed) if last is None else min(last, len(changed))
    for _ in range(generator.choice((1, 1, 1, 2, 4, 16))):
        place = generator.randrange(first, max(last, first + 1))
        kind = generator.randrange(7)
        if kind == 0 and place < len(changed):
            changed[place] = generator.choice(BYTES_THAT_MATTER)
        elif kind == 1 and place < len(changed):
            changed[place] ^= 1 << generator.randrange(8)
        elif kind == 2:
            changed[place:place] = generator.randbytes(generator.choice((1, 2, 4, 100)))
        elif kind == 3:
            del changed[place : place + generator.choice((1, 2, 4, 100))]
        elif kind == 4:
            piece = changed[place : place + generator.choice((1, 8, 64))]
            changed[place:place] = piece * generator.choice((1, 2, 100))
        elif kind == 5 and generator.random() < 0.3:
            del changed[place:]
        else:
            word = generator.choice((0, 1, -1, 2**31 - 1, -(2**31), 65_536, 2**24, 1024, 96))
            changed[place : place + 4] = word.to_bytes(4, "little", signed=True)
    return bytes(changed)


def mutate_json(text: str, generator: random.Random) -> str:
    """Change a JSON text: a value somewhere, a key, its depth, or its bytes."""
    kind = generator.randrange(10)
    if kind == 0:
        return mutate_bytes(text.encode(), generator).decode("utf-8", "surrogateescape")
    if kind == 1:
        depth = generator.choice((100, 2_000, 200_000))
        return "[" * depth + "]" * generator.choice((0, depth))
    if kind == 2:
        return generator.choice(("", "null", "3", '"x"', "[]", "{}", "NaN", "{" * 9, "\x00" * 30))
    data = json.loads(text)
    for _ in range(generator.choice((1, 1, 2, 3))):
        data = change_somewhere(data, generator)
    written = json.dumps(data)
    if kind == 3:
        written = written.replace("1", "9" * 6000, 1)
    return written


def change_somewhere(data: Any, generator: random.Random) -> Any:
    """Replace, remove or add something at a random place of plain data."""
    data = copy.deepcopy(data)
    holder, key = None, None
    node = data
    while isinstance(node, dict | list) and node and (holder is None or generator.random() < 0.75):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        holder, key = node, generator.choice(keys)
        node = node[key]
    if holder is None:
        return copy.deepcopy(generator.choice(VALUES))
    kind = generator.randrange(6)
    if kind == 0 and isinstance(holder, dict):
        del holder[key]
    elif kind == 1 and isinstance(holder, dict):
        holder[generator.choice(("x", "", "box", "rings", str(key) + "s"))] = copy.deepcopy(node)
    elif kind == 2 and isinstance(node, int | float) and not isinstance(node, bool):
        holder[key] = node * generator.choice((-1, 0, 2, 1000, 1e-9, 1e9, 0.5))
    else:
        holder[key] = copy.deepcopy(generator.choice(VALUES))
    return data


def mutate_star(text: str, generator: random.Random) -> bytes:
    """Change a STAR file: tokens, lines, or bytes."""
    if generator.random() < 0.3:
        return mutate_bytes(text.encode(), generator)
    lines = text.splitlines(keepends=True)
    for _ in range(generator.choice((1, 1, 1, 2, 3, 8))):
        number = generator.randrange(len(lines))
        kind = generator.randrange(9)
        words = lines[number].split()
        if kind <= 4 and words:
            place = generator.randrange(len(words))
            words[place] = generator.choice(NUMBERS + WORDS)
            lines[number] = " ".join(words) + "\n"
        elif kind == 5:
            del lines[number]
            lines = lines or ["\n"]
        elif kind == 6:
            lines.insert(number, lines[generator.randrange(len(lines))])
        elif kind == 7:
            lines[number] = generator.choice(("\n", "loop_\n", "data_x\n", "# c\n", "_x\n", "\r"))
        else:
            lines[number] = lines[number].rstrip("\n") + generator.choice(
                ("", "\r\n", " x\n", "\r")
            )
    raw = "".join(lines).encode("utf-8", "surrogatepass")
    if generator.random() < 0.1:
        raw = raw.rstrip(b"\n")
    return raw

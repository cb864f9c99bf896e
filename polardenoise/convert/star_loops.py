"""Read and write the loops of a STAR file, for the Scipion wing (the engine has its own reader).

Only what passes between the two wings: `loop_` tables in the dialect of RELION 3.1 and later.
"""

import re

# A token: quoted with ' or ", or anything without white space.
TOKEN = re.compile(r"""'([^']*)'|"([^"]*)"|(\S+)""")
# Text that would not be read back as one token, or not whole.
NEEDS_QUOTES = re.compile(r"""\s|^['"]""")
BETWEEN_TOKENS = "  "


def quote_token(value):
    """Write a value as one STAR token.

    Parameters
    ----------
    value : object
        A float is written with six decimals, as RELION does; text with spaces, or that begins with a quote, is quoted.

    Returns
    -------
    str
        The token. Empty text becomes `None`, the word that RELION uses for it.
    """
    if isinstance(value, float):
        return f"{value:.6f}"
    text = str(value)
    if not text:
        return "None"
    if not NEEDS_QUOTES.search(text):
        return text
    return f"'{text}'" if '"' in text else f'"{text}"'


def format_loop_header(table, labels):
    """Write the head of a loop.

    Parameters
    ----------
    table : str
        Name of the data block, without `data_`.
    labels : sequence of str
        Column labels without the leading underscore.

    Returns
    -------
    str
        Ends with a line break, ready for rows.
    """
    columns = "".join(f"_{label} #{number}\n" for number, label in enumerate(labels, 1))
    return f"\n# version 30001\n\ndata_{table}\n\nloop_\n{columns}"


def format_row(values, between=BETWEEN_TOKENS):
    """Write one row of a loop, with its line break; `values` in the order of the labels."""
    return between.join(map(quote_token, values)) + "\n"


def read_loop(path, table):
    """Read one loop of a STAR file, row by row.

    Parameters
    ----------
    path : str
        The file.
    table : str
        Name of the data block, without `data_`.

    Yields
    ------
    dict
        Label (without the underscore) to token, one for each row.

    Raises
    ------
    ValueError
        If a row has more or fewer tokens than the loop has labels.
    """
    labels, inside = [], False
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.strip()
            if line.startswith("data_"):
                if inside and labels:
                    return
                inside = line == f"data_{table}"
            elif not inside or not line or line.startswith("#") or line == "loop_":
                continue
            elif line.startswith("_"):
                labels.append(line.split()[0][1:])
            else:
                tokens = ["".join(found) for found in TOKEN.findall(line)]
                if len(tokens) != len(labels):
                    raise ValueError(
                        f"{path}, line {number}: {len(tokens)} values for {len(labels)} columns."
                    )
                yield dict(zip(labels, tokens))

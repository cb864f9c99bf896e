"""What the documentation shows: its literal blocks, the commands in them, and how each is known to work."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.places import REPOSITORY

PAGES = [REPOSITORY / "README.rst", *sorted((REPOSITORY / "docs").glob("*.rst"))]

#: Ways of knowing: run here as it stands, understood by its parser and run by a test of its own, or out of reach.
RUN, COVERED, ELSEWHERE = "run", "covered", "elsewhere"

#: The first that fits counts. Behind a way: the test that covers a command, or why none of ours can run it.
WAYS = [
    (r"polardenoise simulate .*--parakeet ", COVERED, "tests/simulate/test_parakeet.py"),
    (r"polardenoise ", RUN, ""),
    (r"(\.venv/bin/)?python -m benchmarks ", COVERED, "tests/benchmarks/test_command.py"),
    (r"python -m benchmarks\.models\.", COVERED, "tests/benchmarks/test_command.py"),
    (
        r"python -m polardenoise\.engine\.simulate\.",
        COVERED,
        "tests/simulate/test_coloured_noise.py",
    ),
    (r"python -m scipion template FILE ", COVERED, "polardenoise/tests/test_templates.py"),
    (r"(star|particles)=\S+ ", COVERED, "polardenoise/tests/test_templates.py"),
    (r"viewer|\(figure,\)|figure\.", COVERED, "polardenoise/tests/viewers/figures.py"),
    (r"benchmarks/models/\w+\.sh", COVERED, "tests/benchmarks/test_gpu_session.py"),
    (r"make (train|stop|keep)-base", COVERED, "tests/benchmarks/test_standing.py"),
    (r"python docs/draw_figures\.py$", COVERED, "tests/repository/test_figures.py"),
    (r"python docs/protocol_tables\.py$", COVERED, "tests/repository/test_protocol_pages.py"),
    (r"git clone ", ELSEWHERE, "needs the network"),
    (r"cd ", ELSEWHERE, "a folder of the reader's"),
    (r"(scipion3 run )?pip install ", ELSEWHERE, "needs the network"),
    (r"scipion3 installp ", ELSEWHERE, "needs Scipion's launcher and the network"),
    (r"POLARDENOISE_ENV_ACTIVATION = ", ELSEWHERE, "a line of scipion.conf"),
    (r"touch training/pause; ", COVERED, "tests/benchmarks/test_standing.py"),
    (
        r"git ls-files |rm -rf \.carry/|tar -x -f FILES_AT/",
        ELSEWHERE,
        "bookkeeping of a lent machine",
    ),
    (r"\(for each DIR/", ELSEWHERE, "needs Parakeet and a GPU"),
]
#: First words of blocks that are formulas.
FORMULAS = ("s = sum_i", "SNR = contrast", "projection -> shift")
#: What only takes longer, or what stands for something of the reader's, and what the test puts there.
STAND_INS = {
    "--minutes 5": "--minutes 0.05",
    "--null MODEL": "--null base-dncnn",
}


@dataclass(frozen=True)
class Block:
    """A literal block of a page."""

    page: Path
    line: int
    lines: tuple[str, ...]

    @property
    def commands(self) -> list[str]:
        """Its lines without comments; none of a formula."""
        if self.lines[0].startswith(FORMULAS):
            return []
        return [line for line in self.lines if not line.startswith("#")]


def find_blocks(page: Path) -> list[Block]:
    """Find what stands indented behind a `::`, or in a code block."""
    lines = page.read_text(encoding="utf-8").splitlines()
    blocks = []
    for number, line in enumerate(lines):
        is_code = re.match(r"\s*\.\. code-block::", line)
        if not line.endswith("::") or (line.lstrip().startswith("..") and not is_code):
            continue
        depth = len(line) - len(line.lstrip())
        held = []
        for follower in lines[number + 1 :]:
            if follower.strip() and len(follower) - len(follower.lstrip()) <= depth:
                break
            held.append(follower.strip())
        if any(held):
            blocks.append(Block(page, number + 1, tuple(filter(None, held))))
    return blocks


def find_way(command: str) -> tuple[str, str]:
    """Find how a command is known to work; a `LookupError` if by nothing."""
    for pattern, way, by in WAYS:
        if re.match(pattern, command):
            return way, by
    raise LookupError(command)


def words_of(command: str) -> list[str]:
    """Split a command as a shell does, with what stands for something of the reader's replaced."""
    for shown, meant in STAND_INS.items():
        command = command.replace(shown, meant)
    return shlex.split(command, comments=True)

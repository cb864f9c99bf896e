"""What Scipion needs to run without its installer, its graphical interface and its home folder."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

HOSTS = "[localhost]\nPARALLEL_COMMAND = mpirun -np %_(JOB_NODES)d %_(COMMAND)s\n"


def prepare_scipion(folder: Path) -> None:
    """Point Scipion at a folder of its own; must run before pyworkflow is imported.

    Parameters
    ----------
    folder : Path
        Gets Scipion's home, its configuration and the projects (`userdata/projects`).
    """
    home, userdata = folder / "home", folder / "userdata"
    (home / "config").mkdir(parents=True)
    userdata.mkdir()
    (home / "config" / "hosts.conf").write_text(HOSTS)
    os.environ.update(
        SCIPION_HOME=str(home),
        SCIPION_USER_DATA=str(userdata),
        SCIPION_DOMAIN="pwem",
        SCIPION_NOTIFY="False",
        # Protocols start `python3` of their own: it has to be this one.
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        # A container's root may start MPI, on fewer cores than processes.
        OMPI_ALLOW_RUN_AS_ROOT="1",
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
        OMPI_MCA_rmaps_base_oversubscribe="1",
    )
    program = shutil.which("relion_reconstruct")
    if program is not None:
        os.environ.setdefault("RELION_HOME", str(Path(program).parent.parent))


def relion_is_here() -> bool:
    """Tell whether both RELION and its Scipion plugin can be used."""
    from importlib.util import find_spec

    return shutil.which("relion_reconstruct") is not None and find_spec("relion") is not None

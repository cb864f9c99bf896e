"""The optics table of a SetOfParticles: what the microscope was set to, for each group of particles."""

import io

from polardenoise.convert.star_loops import format_loop_header, format_row

LABELS = (
    "rlnOpticsGroup",
    "rlnOpticsGroupName",
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
    "rlnImagePixelSize",
    "rlnImageSize",
    "rlnImageDimensionality",
)
CTF_FLIPPED = "rlnCtfDataArePhaseFlipped"


class OpticsTable:
    """Collect the optics groups of the particles of a set while they are written.

    A set that carries RELION's table (with `_rlnOpticsGroup` on its items) keeps its groups. Elsewhere
    particles of one acquisition make one group: a set joined from two microscopes has two.

    Parameters
    ----------
    particles : SetOfParticles
        Says pixel size, box, and what was done to the CTF.
    """

    def __init__(self, particles):
        self.labels = list(LABELS)
        self.common = {
            "rlnImagePixelSize": float(particles.getSamplingRate()),
            "rlnImageSize": particles.getXDim(),
            "rlnImageDimensionality": 2,
        }
        if particles.isPhaseFlipped() and not particles.isAmplitudeCorrected():
            self.labels.append(CTF_FLIPPED)
            self.common[CTF_FLIPPED] = 1
        self.known = read_optics_info(particles.getAcquisition())
        self.rows = {}

    def get_group(self, particle):
        """Return the number of the particle's optics group; a group is made when it first comes.

        Raises
        ------
        ValueError
            If the particle's own optics group is not in the table that its set carries.
        """
        number = particle.getAttributeValue("_rlnOpticsGroup")
        if number is None or not self.known:
            acquisition = get_acquisition(particle.getAcquisition())
            group = len(self.rows) + 1
            row = self.rows.setdefault(acquisition, (group, f"opticsGroup{group}", *acquisition))
            return row[0]
        if number not in self.known:
            raise ValueError(
                f"Particle {particle.getObjId()} is of optics group {number}, which its set does "
                "not describe; assign optics groups again."
            )
        self.rows[number] = (number, *self.known[number])
        return number

    def format_table(self):
        """Write the table as text; a value that is not known of any group is left out with its column.

        Raises
        ------
        ValueError
            If it is known of some groups only: the engine would take it for another value in all of them.
        """
        rows = [
            {**dict(zip(LABELS, row)), **self.common}
            for row in sorted(self.rows.values(), key=lambda row: row[0])
        ]
        labels = [name for name in self.labels if any(row[name] is not None for row in rows)]
        for name in labels:
            unknown = [row for row in rows if row[name] is None]
            if unknown:
                raise ValueError(
                    f"Optics group {unknown[0]['rlnOpticsGroup']} has no {name[3:]}, while others of the set "
                    "have: give its acquisition one."
                )
        text = io.StringIO()
        text.write(format_loop_header("optics", labels))
        for row in rows:
            text.write(format_row([row[name] for name in labels]))
        return text.getvalue()


def get_acquisition(acquisition):
    """Return voltage (kV), spherical aberration (mm) and amplitude contrast, each None if unknown."""
    if acquisition is None:
        return None, None, None
    values = (
        acquisition.getVoltage(),
        acquisition.getSphericalAberration(),
        acquisition.getAmplitudeContrast(),
    )
    return tuple(None if value is None else float(value) for value in values)


def read_optics_info(acquisition):
    """Read the optics table that RELION's plugin keeps as text in a set's acquisition.

    Returns
    -------
    dict
        Group number to `(name, voltage, spherical aberration, amplitude contrast)`; empty where the
        acquisition carries none.
    """
    from emtable import Table

    text = acquisition.opticsGroupInfo.get() if acquisition is not None else None
    if not text:
        return {}
    table = Table()
    table.readStar(io.StringIO(text), tableName="optics")
    groups = {}
    for row in table:
        values = row._asdict()
        own = get_acquisition(acquisition)
        names = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
        numbers = [
            float(values[name]) if name in values else other for name, other in zip(names, own)
        ]
        number = int(values["rlnOpticsGroup"])
        groups[number] = (values.get("rlnOpticsGroupName", f"opticsGroup{number}"), *numbers)
    return groups

"""Particles that the engine made, as Scipion's objects: a STAR file to a SetOfParticles."""

from pwem.objects import Acquisition, Coordinate, CTFModel, Particle, Transform
from pyworkflow.object import Integer

from polardenoise.convert.alignment import make_projection_matrix
from polardenoise.convert.optics_groups import CTF_FLIPPED
from polardenoise.convert.star_loops import format_loop_header, format_row, read_loop

# Scipion takes an acquisition without magnification for none at all; RELION's plugin writes this one.
MAGNIFICATION = 10000.0


def fill_particle_set(particles, star_path):
    """Fill a set from a STAR file of the engine, RELION 3.1 dialect.

    Parameters
    ----------
    particles : SetOfParticles
        New and empty. Gets items, pixel size, acquisition, and its flags of CTF and alignment.
    star_path : str
        For example `particles.star` of `polardenoise simulate`; stacks relative to the project.

    Raises
    ------
    ValueError
        If the file has no optics group or no particle.
    """
    optics = {row["rlnOpticsGroup"]: row for row in read_loop(star_path, "optics")}
    if not optics:
        raise ValueError(f"{star_path} has no optics group.")
    first = next(iter(optics.values()))
    pixel_size = float(first["rlnImagePixelSize"])
    particles.setSamplingRate(pixel_size)
    particles.setAcquisition(make_acquisition(first, optics))
    particles.setIsPhaseFlipped(int(first.get(CTF_FLIPPED, 0)) == 1)

    has_ctf = has_angles = False
    for row in read_loop(star_path, "particles"):
        has_ctf, has_angles = "rlnDefocusU" in row, "rlnAngleRot" in row
        particle = make_particle(row, pixel_size)
        if len(optics) > 1:
            particle.setAcquisition(make_acquisition(optics[row["rlnOpticsGroup"]], optics))
            particle._rlnOpticsGroup = Integer(int(row["rlnOpticsGroup"]))
        particles.append(particle)
    if particles.isEmpty():
        raise ValueError(f"{star_path} has no particle.")
    particles.setHasCTF(has_ctf)
    if has_angles:
        particles.setAlignmentProj()


def make_acquisition(group, optics):
    """Make the acquisition of one optics group; the whole table goes with it, as in RELION's plugin.

    Parameters
    ----------
    group : dict
        Its row: label to token.
    optics : dict
        Group number to row, all of them.

    Returns
    -------
    Acquisition
        Voltage in kV, spherical aberration in mm; zero where the file does not say.
    """
    acquisition = Acquisition(
        magnification=MAGNIFICATION,
        voltage=float(group.get("rlnVoltage", 0.0)),
        sphericalAberration=float(group.get("rlnSphericalAberration", 0.0)),
        amplitudeContrast=float(group.get("rlnAmplitudeContrast", 0.0)),
    )
    labels = list(group)
    text = format_loop_header("optics", labels)
    text += "".join(format_row([row[label] for label in labels]) for row in optics.values())
    acquisition.opticsGroupInfo.set(text + "\n")
    return acquisition


def make_particle(row, pixel_size):
    """Make one particle of a row (label to token); what the row lacks, the particle lacks."""
    particle = Particle()
    index, path = row["rlnImageName"].split("@", 1)
    particle.setLocation(int(index), path)
    if "rlnDefocusU" in row:
        ctf = CTFModel()
        ctf.setDefocusU(float(row["rlnDefocusU"]))
        ctf.setDefocusV(float(row["rlnDefocusV"]))
        ctf.setDefocusAngle(float(row["rlnDefocusAngle"]))
        if "rlnPhaseShift" in row:
            ctf.setPhaseShift(float(row["rlnPhaseShift"]))
        ctf.standardize()
        particle.setCTF(ctf)
    if "rlnAngleRot" in row:
        angles = [float(row[f"rlnAngle{name}"]) for name in ("Rot", "Tilt", "Psi")]
        origin = [float(row.get(f"rlnOrigin{axis}Angst", 0.0)) / pixel_size for axis in "XY"]
        particle.setTransform(Transform(make_projection_matrix(*angles, *origin)))
    if "rlnMicrographName" in row and "rlnCoordinateX" in row:
        x, y = float(row["rlnCoordinateX"]), float(row["rlnCoordinateY"])
        coordinate = Coordinate(x=x, y=y)
        coordinate.setMicName(row["rlnMicrographName"])  # the constructor takes none
        particle.setCoordinate(coordinate)
    if "rlnClassNumber" in row:
        particle.setClassId(int(row["rlnClassNumber"]))
    if "polardenoiseSource" in row:
        particle._polardenoiseSource = Integer(int(row["polardenoiseSource"]))
    if "rlnRandomSubset" in row:
        particle._rlnRandomSubset = Integer(int(row["rlnRandomSubset"]))
    return particle

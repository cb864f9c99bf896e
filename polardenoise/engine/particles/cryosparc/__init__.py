"""cryoSPARC's data sets: a .cs and its passthrough in, the STAR file that they amount to; and back, joined by uid.

A `.cs` is a numpy table with a row for each particle and slots of fields: `blob` (the images), `ctf`, `alignments2D`,
`alignments3D`, `location`. Jobs write what they have changed into one file and the rest into a passthrough of the same
uids. Conventions, held against pyem's csparc2star:

- `alignments3D/pose` is a rotation vector (axis times angle, radian); its matrix carries image into volume coordinates,
  as that of RELION's angles does here (`imaging.euler_angles`). `alignments2D/pose` is one about the axis of view: psi.
- `shift` is counted in pixels of `psize_A` of the same slot and has the sign of RELION's origins.
- `split` counts from 0, as `blob/idx` and `class` do; where all rows have the same, there are no halves.
- `location` is a part of the micrograph's width and height, counted from its other end along y.
"""

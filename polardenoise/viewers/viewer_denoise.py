"""Viewer of denoised particles: galleries, neighbours, scores and classes."""

import os

import numpy as np
import pyworkflow.protocol.params as params
from pwem.viewers import EmPlotter, EmProtocolViewer
from pyworkflow.viewer import DESKTOP_TKINTER

from polardenoise.convert.matches_file import join_matches, read_matches
from polardenoise.protocols import ProtPolarDenoise
from polardenoise.viewers.images import get_grey_range, read_image, rotate_image
from polardenoise.viewers.neighbours import read_neighbourhood
from polardenoise.viewers.picking import ParticlePicker, find_truth, tell_errors
from polardenoise.viewers.pictures import ESTIMATE_LABEL, ESTIMATE_NOTE, Panel, draw_rows
from polardenoise.viewers.web_page import PageView

NO_MATCHES = (
    "This run kept no matches: they come with *Group images: neighbours*, once the first particles "
    "are finished."
)
CLASSES_PER_ROW, MOST_CLASSES = 8, 40
SCORE_BINS = 50


class PolarDenoiseViewer(ParticlePicker, EmProtocolViewer):
    """Noisy, denoised and residual images side by side, and what the comparison of images found."""

    _label = "viewer denoise particles"
    _targets = [ProtPolarDenoise]
    _environments = [DESKTOP_TKINTER]

    # --------------------------- form ------------------------------------------------------
    def _defineParams(self, form):
        form.addSection(label="Images")
        form.addParam(
            "showReport",
            params.LabelParam,
            important=True,
            label="Report, in the browser",
            help="One page: what speaks against the images, classes, particles, scores, what was taken "
            "away. Of a run in several chunks, that of the first of the particles named below.",
        )
        self.definePickParams(form)
        form.addParam(
            "showGallery",
            params.LabelParam,
            important=True,
            label="Noisy, denoised, residual (and truth)",
            help="The residual is the noisy image less the denoised one, in the noisy one's greys: "
            "structure that is left there is signal that the estimate lacks. The truth is shown for "
            "particles that this project simulated.",
        )
        form.addParam(
            "showNeighbours",
            params.LabelParam,
            label="Neighbours of a particle, rotated onto it",
            help="The images that counted most for the first of the particles above, each turned by "
            "the angle at which it was found to agree, and their weighted mean.",
        )
        form.addSection(label="Scores and classes")
        form.addParam(
            "showScores",
            params.LabelParam,
            label="Histogram of the scores",
            help="How well each image agrees with those it was matched to. Junk gathers at the low end.",
        )
        form.addParam(
            "showWorst",
            params.LabelParam,
            label="Images of the lowest and the highest scores",
            help="Where would a cut lie? Half of *How many* from either end, with their scores.",
        )
        form.addParam(
            "showClasses",
            params.LabelParam,
            label="Class averages",
            help="Averages of images that matched each other, largest classes first. A class lies within "
            "one half; its twin is the most similar one of the other half. To pick some for `select particles`, "
            "double-click *outputClasses* above the summary of the run.",
        )

    def _getVisualizeDict(self):
        return {
            "showReport": self.viewReport,
            "showGallery": self.viewGallery,
            "showNeighbours": self.viewNeighbours,
            "showScores": self.viewScores,
            "showWorst": self.viewWorst,
            "showClasses": self.viewClasses,
        }

    # --------------------------- figures ---------------------------------------------------
    @tell_errors
    def viewReport(self, paramName=None):
        """Open the page of the chunk that the first chosen particle is in."""
        reports = {
            int(number): self.protocol.getReportPath(chunk.number)
            for chunk in self.protocol.readShownChunks()
            if os.path.exists(self.protocol.getReportPath(chunk.number))
            for number in chunk.ids
        }
        if not reports:
            return [self.infoMessage("No particle is finished yet.", "No report")]
        named = (self.particleIds.get() or "").strip()
        chosen = self.pickIds(set(reports))[0] if named else min(reports)
        return [PageView(reports[chosen])]

    @tell_errors
    def viewGallery(self, paramName=None):
        """Draw the chosen particles noisy, denoised and their difference."""
        denoised = self.getDenoised()
        if denoised is None:
            return [self.errorMessage("No particle is finished yet.", "Nothing to show")]
        ids = self.pickIds(denoised.getIdSet())
        return [self.drawGallery(ids, [f"particle {number}" for number in ids])]

    def drawGallery(self, ids, titles):
        """Draw particles noisy, denoised, residual and, where it is known, true; a column each."""
        noisy_set, denoised_set = self.protocol.inputParticles.get(), self.getDenoised()
        truth_set = find_truth(self.protocol.inputParticles, self.getProject())
        noisy = [read_image(noisy_set[number]) for number in ids]
        denoised = [read_image(denoised_set[number]) for number in ids]
        ranges = [get_grey_range(image) for image in noisy]
        rows = [
            ("noisy", [Panel(*each) for each in zip(noisy, titles, ranges)]),
            (ESTIMATE_LABEL, [Panel(image) for image in denoised]),
        ]
        notes = [ESTIMATE_NOTE]
        if denoised_set.isAmplitudeCorrected() and not noisy_set.isAmplitudeCorrected():
            notes.append("No residual: the estimate is without CTF, the particles are with it.")
        elif noisy[0].shape != denoised[0].shape:
            notes.append("No residual: the estimate is in the smaller box of the network.")
        else:
            residual = [Panel(a - b, "", c) for a, b, c in zip(noisy, denoised, ranges)]
            rows.append(("noisy − denoised", residual))
        if truth_set is not None:
            truth = [read_image(truth_set[number]) for number in ids]
            rows.append(("truth\n(no CTF)", [Panel(image) for image in truth]))
        notes.append("Under each image its black … white.")
        return draw_rows(rows, "Particles before and after denoising", "\n".join(notes))

    @tell_errors
    def viewNeighbours(self, paramName=None):
        """Draw the neighbours of one particle as they were found to agree with it."""
        files = [read_neighbourhood(*each) for each in self.listMatches()]
        if not files or self.getDenoised() is None:
            return [self.infoMessage(NO_MATCHES, "No neighbours")]
        known = {int(number) for one in files for number in one.ids}
        particle = self.pickIds(known & self.getDenoised().getIdSet())[0]
        neighbourhood = next(one for one in files if particle in one.ids)
        found = neighbourhood.get_neighbours(particle, self.howMany.get())
        if not found:
            return [self.infoMessage(f"Particle {particle} matched no other.", "No neighbours")]
        kinds = (
            ("noisy", self.protocol.inputParticles.get()),
            (ESTIMATE_LABEL, self.getDenoised()),
        )
        rows = [
            (label, self.makeNeighbourPanels(particles, particle, found))
            for label, particles in kinds
        ]
        note = (
            "Neighbours are of the particle's own half, turned onto it: id, weight, and the rotation "
            f"counter-clockwise. The mean is weighted.\n{ESTIMATE_NOTE}"
        )
        return [draw_rows(rows, f"Neighbours of particle {particle}", note)]

    def makeNeighbourPanels(self, particles, particle, found):
        """Make the panels of one kind of image: the particle, its neighbours' mean, its neighbours."""
        turned = [
            rotate_image(read_image(particles[number]), degrees) for number, _, degrees in found
        ]
        weights = np.array([weight for _, weight, _ in found])
        if not weights.sum():
            weights = np.ones(len(found))
        mean = np.average(turned, axis=0, weights=weights)
        titles = [
            f"{number}: {100 * weight:.1f} %, {degrees:.0f}°" for number, weight, degrees in found
        ]
        return [
            Panel(read_image(particles[particle]), f"particle {particle}"),
            Panel(mean, f"mean of these {len(found)}"),
            *(Panel(*each) for each in zip(turned, titles)),
        ]

    @tell_errors
    def viewScores(self, paramName=None):
        """Draw how the scores are distributed, each half for itself."""
        matches = self.readMatches()
        if matches is None:
            return [self.infoMessage(NO_MATCHES, "No scores")]
        plotter = EmPlotter(figsize=(6.5, 4.5), windowTitle="Scores")
        axis = plotter.createSubPlot(
            "How consistent images are with those they match", "score", "particles"
        )
        halves = np.unique(matches.half)
        axis.hist(
            [matches.score[matches.half == half] for half in halves],
            bins=np.linspace(0, 1, SCORE_BINS + 1),
            stacked=True,
            label=[f"half {half}" for half in halves],
        )
        proposed = self.protocol.getProposedScore()
        if proposed is not None:
            axis.axvline(proposed, color="black", linestyle="--", label=f"proposed: {proposed:g}")
        axis.legend(fontsize=8)
        plotter.figure.supxlabel(
            f"{len(matches.score)} particles, median {np.median(matches.score):.2f}. Junk gathers at the low "
            "end: sort the output by _polardenoiseScore to look at it.",
            fontsize=8,
        )
        return [plotter]

    @tell_errors
    def viewWorst(self, paramName=None):
        """Draw the particles that agree least and most with those they match."""
        matches, denoised = self.readMatches(), self.getDenoised()
        if matches is None or denoised is None:
            return [self.infoMessage(NO_MATCHES, "No scores")]
        known = denoised.getIdSet()
        scored = sorted(
            (score, number)
            for number, score in zip(matches.ids.tolist(), matches.score.tolist())
            if number in known
        )
        half = max(self.howMany.get() // 2, 1)
        chosen = scored if len(scored) <= 2 * half else scored[:half] + scored[-half:]
        titles = [f"{number}: score {score:.2f}" for score, number in chosen]
        return [self.drawGallery([number for _, number in chosen], titles)]

    @tell_errors
    def viewClasses(self, paramName=None):
        """Draw the class averages, the largest first."""
        matches = self.readMatches()
        if matches is None or not len(matches.class_averages):
            return [self.infoMessage(NO_MATCHES, "No classes")]
        panels = []
        for place in np.argsort(-matches.class_size, kind="stable")[:MOST_CLASSES]:
            twin = matches.class_twin[place]
            title = (
                f"class {place + 1}: {matches.class_size[place]}\nhalf {matches.class_half[place]}"
            )
            title += f", twin {twin}" if twin else ""
            panels.append(Panel(matches.class_averages[place], title))
        rows = [
            ("", panels[start : start + CLASSES_PER_ROW])
            for start in range(0, len(panels), CLASSES_PER_ROW)
        ]
        note = (
            f"{len(panels)} of {len(matches.class_averages)} classes, largest first: number, particles, half, and "
            "the most similar class of the other half. Without CTF."
        )
        return [draw_rows(rows, "Class averages", note)]

    # --------------------------- data ------------------------------------------------------
    def getDenoised(self):
        """Return the output set as far as it is, None before the first particle is finished."""
        return getattr(self.protocol, "outputParticles", None)

    def listMatches(self):
        """List what the attention found: the file of each chunk that has one, and the chunk's ids."""
        found = []
        for chunk in self.protocol.readShownChunks():
            path = self.protocol.getChunkPath("matches.npz", chunk.number)
            if os.path.exists(path):
                found.append((path, chunk.ids))
        return found

    def readMatches(self):
        """Read scores and classes of all chunks that have them; None where none has."""
        parts = [read_matches(*each) for each in self.listMatches()]
        return join_matches(parts) if parts else None

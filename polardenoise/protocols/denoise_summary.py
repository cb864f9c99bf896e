"""What *denoise particles* says of a run: verdict, classes, scores, warnings, methods."""

import os

import numpy as np

from polardenoise.counts import choose_verb, word_count
from polardenoise.protocols.forms.denoise_form import CTF_CORRECTED

OUTPUT_PARTICLES, OUTPUT_CLASSES = "outputParticles", "outputClasses"


def word_share(some, chunks):
    """Say of how many chunks something is said; nothing where all is one chunk."""
    return "" if chunks == 1 else f" ({some} of {chunks} chunks)"


class DenoiseSummary:
    """The texts of the project window; mixed into the protocol. They read the engine's summaries, never a set."""

    def readSummaries(self):
        """Read what the engine says of each chunk, in their order; empty dicts for those not done yet."""
        paths = [self.getChunkPath("summary.json", one.number) for one in self.readShownChunks()]
        names = [os.path.basename(path) for path in paths]
        return [self.readSummary(name) for name in names]

    def tellVerdict(self, summaries):
        """Say why the images are not to be trusted, and of how many chunks that is true; a list of lines."""
        judged = [summary["verdict"] for summary in summaries if summary.get("verdict")]
        if not judged:
            return []
        parts = word_share(len(judged), len(summaries))
        return [f"*VERDICT: do not trust these images*{parts}: {'; '.join(judged[0])}."]

    def tellDoubts(self, summaries):
        """Say what is wrong with the set, in whichever chunk; a list of lines.

        The other `warnings` of chunks are said of all of them together. Summaries without `doubts` have no others.
        """
        doubts = [text for one in summaries for text in one.get("doubts", one.get("warnings", []))]
        return [f"*WARNING*: {text}." for text in dict.fromkeys(doubts)]

    def tellResidual(self, summaries):
        """Say what was taken away besides noise, in the words of the first chunk; a list of lines."""
        said = [one["residual"]["said"] for one in summaries if one.get("residual")]
        said = [text for text in said if text]
        if not said:
            return []
        parts = word_share(len(said), len(summaries))
        return [f"*WARNING*{parts}: {said[0]}."]

    def tellTemplates(self, summary):
        """Say that images of large halves have seen the whole half; a list of lines."""
        counts = [
            count
            for half in summary.get("whole_halves", {}).values()
            if half.get("used", True)
            for count in half["templates"]
        ]
        if not counts:
            return []
        return [
            f"Every image of a large half was also seen through {word_count(max(counts), 'image')} of another fold "
            "of its half and through views of one volume that the others make, which share no pixels with it."
        ]

    # --------------------------- checks and texts --------------------------------------------
    def _summary(self):
        if not hasattr(self, OUTPUT_PARTICLES):
            return self.tellProgress()
        by_chunk = self.readSummaries()
        first = by_chunk[0] if by_chunk else {}
        summaries = [summary for summary in by_chunk if summary]
        lines = self.tellVerdict(summaries)
        lines.append(f"Model: *{self.getModel()}*, CTF {self.getEnumText('ctfOutput')}.")
        done = getattr(self, OUTPUT_PARTICLES)
        if "group_by" in first:
            growing = " so far" if done.isStreamOpen() else ""
            lines.append(
                f"{word_count(done.getSize(), 'particle')}{growing}, grouped by {first['group_by']}; halves: "
                f"{first['halves']}; nothing finer than {first['finest_detail_angstrom']:.1f} Å "
                "can come back."
            )
        lines += self.tellTemplates(first) + self.tellClasses(summaries)
        lines += self.tellDoubts(summaries) + self.tellResidual(summaries)
        sharing = sum(one.get("overlapping", 0) for one in summaries)
        if sharing:
            shares = choose_verb(sharing, "shares", "share")
            lines.append(
                f"{word_count(sharing, 'image')} {shares} pixels with others: these never met."
            )
        unchecked = dict.fromkeys(one.get("overlaps_unchecked", "") for one in summaries)
        lines += [f"{text[0].upper()}{text[1:]}." for text in unchecked if text]
        # Of particles whose faint raw images stand in for them.
        faint = sum(one.get("faint", 0) for one in summaries)
        if faint:
            shows = choose_verb(faint, "shows", "show")
            stand = choose_verb(faint, "its raw image stands", "their raw images stand")
            lines.append(
                f"*{word_count(faint, 'particle')}* {shows} no more than pure noise would: {stand} "
                "there, faint."
            )
        if not first.get("noise_guard", True):
            lines.append(
                "The model's card does not state what it makes of pure noise: nothing keeps it from "
                "drawing particles into noise."
            )
        if self.ctfOutput == CTF_CORRECTED:
            lines.append("Images carry no CTF: reconstruct them without CTF correction.")
        lines.append(f"*Next*: {self.nameNextStep(summaries)}.")
        return lines + (self.tellProgress() if done.isStreamOpen() else self.tellTime())

    def nameNextStep(self, summaries):
        """Say what to do with the images."""
        if self.tellVerdict(summaries):
            return "mend what the first line says, before anything is made of these images"
        sort = (
            "leave out what scores low by *select particles*, "
            if hasattr(self, OUTPUT_CLASSES)
            else ""
        )
        return (
            f"*Analyze results* to look at them, {sort}classify or align; then give the poses to the raw "
            "particles (pwem's *assign alignment*): reconstruct from the raw particles"
        )

    def tellClasses(self, summaries):
        """Say how many classes there are, and how good the scores are: a list of lines."""
        classes = getattr(self, OUTPUT_CLASSES, None)
        scores = [one["median_score"] for one in summaries if one.get("median_score") is not None]
        if classes is None or not scores:
            return []
        score = sum(scores) / len(scores)
        lines = [
            f"{word_count(classes.getSize(), 'class')}; median score {score:.2f} (0 to 1; junk scores low)."
        ]
        proposed = self.getProposedScore()
        if proposed is not None:
            lines.append(
                f"Proposed, and yours to change: keep scores of {proposed:g} and more (the wand of *select "
                "particles* fills it in)."
            )
        else:
            lines += self.tellWhyNot(summaries)
        return lines

    def tellWhyNot(self, summaries):
        """Say why no score is proposed, in the words of the first chunk that says so; a list of lines."""
        if self.tellVerdict(summaries):
            return ["No score is proposed, for what the first line says: look at the classes."]
        found = [summary.get("classes") or {} for summary in summaries]
        reasons = [one["nothing_proposed"] for one in found if one.get("nothing_proposed")]
        return [f"No score is proposed: {reasons[0]}."] if reasons else []

    def getProposedScore(self):
        """Return the least score that the engine proposes, the median of the chunks'.

        None where it proposes none, and where it says of a chunk not to trust its images.
        """
        summaries = self.readSummaries()
        if self.tellVerdict(summaries):
            return None
        found = [summary.get("classes") or {} for summary in summaries]
        proposed = [one["proposed"]["min_score"] for one in found if one.get("proposed")]
        return round(float(np.median(proposed)), 4) if proposed else None

    def _methods(self):
        if not hasattr(self, OUTPUT_PARTICLES):
            return []
        halves = "ignoring random halves" if self.ignoreHalves else "random halves apart"
        summary = next(filter(None, self.readSummaries()), {})
        version = f" {summary['version']}" if summary.get("version") else ""
        model = self.nameWithHash(summary.get("model_sha256"))
        return [
            f"Particle images were denoised jointly with polardenoise{version} (model {model}; "
            f"{self.getEnumText('grouping')} sets of K = {self.setSize.get()} images, {halves}) "
            "[anden2025]."
        ]

    def _citations(self):
        return ["anden2025"]

"""What *denoise particles* says of a run: verdict, classes, scores, warnings, methods."""

import os

from polardenoise.convert.chunks import read_chunks
from polardenoise.protocols.denoise_form import CTF_CORRECTED

OUTPUT_PARTICLES, OUTPUT_CLASSES = "outputParticles", "outputClasses"


class DenoiseSummary:
    """The texts of the project window; mixed into the protocol. They read the engine's summaries, never a set."""

    def readSummaries(self):
        """Read what the engine says of the chunks done so far."""
        numbers = range(1, len(read_chunks(self._getExtraPath())) + 1)
        names = [os.path.basename(self.getChunkPath("summary.json", number)) for number in numbers]
        return [summary for summary in map(self.readSummary, names) if summary]

    def tellVerdict(self):
        """Say why the images are not to be trusted, and of how many chunks that is true; a list of lines."""
        summaries = self.readSummaries()
        judged = [summary["verdict"] for summary in summaries if summary.get("verdict")]
        if not judged:
            return []
        parts = "" if len(summaries) == 1 else f" ({len(judged)} of {len(summaries)} chunks)"
        return [f"*VERDICT: do not trust these images*{parts}: {'; '.join(judged[0])}."]

    # --------------------------- checks and texts --------------------------------------------
    def _summary(self):
        if not hasattr(self, OUTPUT_PARTICLES):
            return self.tellProgress()
        lines = self.tellVerdict()
        lines.append(f"Model: *{self.getModel()}*, CTF {self.getEnumText('ctfOutput')}.")
        done = getattr(self, OUTPUT_PARTICLES)
        summary = self.readSummary(os.path.basename(self.getChunkPath("summary.json", 1)))
        if summary:
            growing = " so far" if done.isStreamOpen() else ""
            lines.append(
                f"{done.getSize()} particles{growing}, grouped by {summary['group_by']}; halves: "
                f"{summary['halves']}; nothing finer than {summary['finest_detail_angstrom']:.1f} Å "
                "can come back."
            )
        summaries = self.readSummaries()
        lines += self.tellClasses(summaries)
        warnings = dict.fromkeys(text for one in summaries for text in one.get("warnings", []))
        lines += [f"*WARNING*: {text}." for text in warnings]
        sharing = sum(one.get("overlapping", 0) for one in summaries)
        if sharing:
            lines.append(f"{sharing} images share pixels with others: these never met.")
        unchecked = dict.fromkeys(one.get("overlaps_unchecked", "") for one in summaries)
        lines += [f"{text[0].upper()}{text[1:]}." for text in unchecked if text]
        # Of particles whose faint raw images stand in for them.
        faint = sum(one.get("faint", 0) for one in summaries)
        if faint:
            lines.append(
                f"*{faint} particles* show no more than pure noise would: their raw images stand "
                "there, faint."
            )
        if summary and not summary["noise_guard"]:
            lines.append(
                "The model's card does not state what it makes of pure noise: nothing keeps it from "
                "drawing particles into noise."
            )
        if self.ctfOutput == CTF_CORRECTED:
            lines.append("Images carry no CTF: reconstruct them without CTF correction.")
        lines.append("For looking, cleaning and aligning; reconstruct from the raw particles.")
        return lines + (self.tellProgress() if done.isStreamOpen() else self.tellTime())

    def tellClasses(self, summaries):
        """Say how many classes there are, and how good the scores are: a list of lines."""
        classes = getattr(self, OUTPUT_CLASSES, None)
        scores = [one["median_score"] for one in summaries if one.get("median_score") is not None]
        if classes is None or not scores:
            return []
        score = sum(scores) / len(scores)
        return [f"{classes.getSize()} classes; median score {score:.2f} (0 to 1; junk scores low)."]

    def _methods(self):
        if not hasattr(self, OUTPUT_PARTICLES):
            return []
        halves = "ignoring random halves" if self.ignoreHalves else "random halves apart"
        summary = next(iter(self.readSummaries()), {})
        version = f" {summary['version']}" if summary.get("version") else ""
        sha = summary.get("model_sha256") or ""
        model = self.getModel() + (f", weights {sha[:12]}" if sha else "")
        return [
            f"Particle images were denoised jointly with polardenoise{version} (model {model}; "
            f"{self.getEnumText('grouping')} sets of K = {self.setSize.get()} images, {halves}) "
            "[anden2025]."
        ]

    def _citations(self):
        return ["anden2025"]

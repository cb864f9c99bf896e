"""What a run depends on, remembered: a changed parameter never leaves an output of the old one."""

import json
import os

SETTINGS_FILE = "settings.json"


class RememberedSettings:
    """Compare a run's settings with those that its outputs were made with; mixed into the protocols.

    Scipion runs again the steps whose arguments changed, but keeps the old outputs until new ones
    replace them: a run that fails on the way would show what another parameter made. Here outputs go
    as soon as the run is started with other settings. A protocol brings `getConfiguration`, whose
    dictionary is also an argument of each of its steps.
    """

    def makePathsAndClean(self):
        """Drop outputs of other settings when the run is launched, in the project that launches it."""
        super().makePathsAndClean()
        try:
            changed = self.haveSettingsChanged(self.getConfiguration())
        except Exception as error:
            # A scheduled run has no inputs yet: its own process asks again when it has them.
            self.debug(f"The settings cannot be compared yet: {error}")
            return
        if changed:
            self.dropOutputs()

    def rememberSettings(self, config):
        """Note the settings of the run that begins; outputs of others go.

        Parameters
        ----------
        config : dict
            Of `getConfiguration`.

        Returns
        -------
        bool
            True where what lies in the run's folder was made with other settings.
        """
        changed = self.haveSettingsChanged(config)
        if changed:
            self.dropOutputs()
            self.cleanResults()
        write_json(self._getExtraPath(SETTINGS_FILE), config)
        return changed

    def cleanResults(self):
        """Remove files of other settings that could be taken for results of these; a protocol says which."""

    def haveSettingsChanged(self, config):
        """Tell whether the run's folder was made with other settings than these."""
        known = read_json(self._getExtraPath(SETTINGS_FILE))
        return known is not None and known != json.loads(json.dumps(config))

    def dropOutputs(self):
        """Forget the outputs; their files stay until they are written again."""
        for name, output in list(self.iterOutputAttributes()):
            self.info(f"{name} was made with other settings: it is made again.")
            if hasattr(output, "close"):
                output.close()
            self.deleteOutput(output)
        self.mapper.deleteRelations(self)


def read_json(path):
    """Read a JSON file; None where there is none, or it is damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def write_json(path, data):
    """Write a JSON file that is complete or not there."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1)
    os.replace(path + ".part", path)

"""What is done when a rule that a job asked for has found something: SageMaker's actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from houndsight.jobs.debugging.asked import Asked
from houndsight.jobs.layout import JobFolder
from houndsight.jobs.status import RuleStatus

__all__ = ["Carrier"]


class Carrier:
    """Carries out each action once.

    `StopTraining` asks the supervisor to stop the script, if the job's name begins as the action
    says. `Email` and `SMS` have nobody here to send them; the supervisor's log says so.
    """

    def __init__(self, rules: Sequence[Asked], folder: JobFolder, *, job: str) -> None:
        self.rules, self.folder, self.job = rules, folder, job.lower()
        self._done: set[str] = set()

    def carry_out(self, statuses: Mapping[str, RuleStatus]) -> None:
        """Do what rules that have found something ask for."""
        for asked in self.rules:
            status = statuses.get(asked.configuration)
            if status is None or status.status != "IssuesFound":
                continue
            if asked.configuration in self._done or not asked.actions:
                continue
            self._done.add(asked.configuration)
            for action in asked.actions:
                self._carry_out(asked, {str(k): str(v) for k, v in action.items()})

    def _carry_out(self, asked: Asked, action: Mapping[str, str]) -> None:
        name = action.get("name", "").lower()
        if name == "stoptraining":
            if self.job.startswith(action.get("training_job_prefix", "").lower()):
                self._say(f"{asked.rule} has found something and asks to stop: stopping.")
                self.folder.stop.touch()
            return
        self._say(f"{asked.rule} asks for the action {name!r}, which nobody carries out here.")

    def _say(self, line: str) -> None:
        with self.folder.messages.open("a") as file:
            file.write(line + "\n")

"""One run of a comparison: its command, its files and what they say."""

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from ml_collections import config_dict

from launch.comparison import processes
from launch.runs import metrics, saved_config
from tf_pcc import files
from tf_pcc.audit import AuditedCheckpoint, CanaryPlan, scoring


@dataclasses.dataclass(frozen=True)
class Job:
  """A training run of the comparison.

  Attributes:
    name: str, unique.
    method: value of clipping.method.
    seed: int.
    config: the run's `ConfigDict`.
    arguments: tuple of str: the flags of launch.train that give this config.
    directory: the run's --workdir.
    audit_arguments: tuple of str: more flags of launch.audit.
  """

  name: str
  method: str
  seed: int
  config: config_dict.ConfigDict
  arguments: tuple
  directory: str
  audit_arguments: tuple = ()

  def summary(self) -> dict[str, Any] | None:
    """summary.json of a finished run, otherwise None."""
    path = os.path.join(self.directory, "summary.json")
    if not os.path.exists(path):
      return None
    found = files.read_json(
      path, "remove it: the run is scored again", _Summary
    )
    return found if found["steps"] >= self.config.steps else None

  def check(self) -> None:
    """Refuses a directory that holds a run of another config.

    Raises:
      ValueError: If fields differ; they are named.
    """
    saved_config.check_config(self.directory, self.config)
    # Without canaries more steps could go on, but not be compared.
    if os.path.exists(os.path.join(self.directory, "config.json")):
      steps = saved_config.load_config(self.directory).steps
      if steps != self.config.steps:
        raise ValueError(
          f"steps must be those of the run in {self.directory}: {steps}; give "
          "another --workdir, or remove that run. "
          f"Received: steps={self.config.steps}"
        )

  def step(self) -> int:
    """The last step it has logged."""
    if not os.path.exists(os.path.join(self.directory, "metrics.jsonl")):
      return 0
    steps = [line["step"] for line in metrics.read(self.directory)]
    return min(max(steps, default=0), self.config.steps)

  def train(
    self, watch: Callable[[], None], cpus: set[int] | None = None
  ) -> None:
    """Trains it, or goes on; a finished run is left alone.

    Args:
      watch: as `processes.run` takes it, and so is the next.
      cpus: set of CPU cores.
    """
    if self.summary() is None:
      processes.run(
        "launch.train",
        [*self.arguments, f"--workdir={self.directory}"],
        os.path.join(self.directory, "log.txt"),
        watch,
        cpus,
      )
    watch()

  def audit(
    self, watch: Callable[[], None], cpus: set[int] | None = None
  ) -> None:
    """Audits the run's checkpoints, unless that was done.

    Args:
      watch: as of `train`.
      cpus: as of `train`.
    """
    if not self.is_audited:
      processes.run(
        "launch.audit",
        [
          f"--workdir={self.directory}",
          "--checkpoints=all",
          "--overwrite",
          *self.audit_arguments,
        ],
        os.path.join(self.directory, "log.txt"),
        watch,
        cpus,
      )

  def validation(self) -> tuple[float, int]:
    """The score on the validation set, of a finished run.

    Returns:
      (word error rate, words of the references).

    Raises:
      ValueError: If an older program wrote its summary, without words.
    """
    found = self.summary() or {}
    words = found.get("validation_words")
    if words is None:
      raise ValueError(
        f"{self.directory}/summary.json must hold validation_words: remove "
        "that folder, and the run is made again. Received: validation_words="
        f"{words}"
      )
    return found["validation_wer"], words

  @property
  def is_audited(self) -> bool:
    """Whether its checkpoints have been audited."""
    return os.path.exists(os.path.join(self.directory, "audit", "report.html"))

  def audited(self) -> list[AuditedCheckpoint]:
    """Its scores, a list of `tf_pcc.audit.AuditedCheckpoint`."""
    result = []
    for entry in self._checkpoints():
      inserted, holdout = scoring.groups_of(entry)
      result.append(
        AuditedCheckpoint(
          run=self.name,
          method=self.method,
          seed=self.seed,
          step=entry["step"],
          wer=entry["wer"],
          words=entry.get("words"),
          inserted=inserted,
          holdout=holdout,
        )
      )
    return result

  def last_checkpoint(self) -> dict[str, Any]:
    """The entry of its last step in audit.json: wer, words, summary, scores."""
    return self._checkpoints()[-1]

  def _checkpoints(self):
    """The entries of its audit.json, one a checkpoint."""
    path = os.path.join(self.directory, "audit", "audit.json")
    remedy = "remove its folder: the run is audited again"
    return files.read_json(path, remedy, _Audit)["checkpoints"]

  def plan(self) -> CanaryPlan:
    """The plan of its canaries."""
    return CanaryPlan.load(os.path.join(self.directory, "canaries.json"))


@dataclasses.dataclass(frozen=True)
class _Summary:
  """What is read of a run's summary.json."""

  steps: int
  cores: int
  training_utterances: int
  peak_memory_gb: float
  seconds_per_step: float | None
  validation_wer: float | None = None
  validation_words: int | None = None


@dataclasses.dataclass(frozen=True)
class _GroupTexts:
  references: list[str]
  transcripts: list[str]
  edits: list[int]
  characters: list[int]
  losses: list[float | None] | None


@dataclasses.dataclass(frozen=True)
class _Scores:
  inserted: _GroupTexts
  holdout: _GroupTexts


@dataclasses.dataclass(frozen=True)
class _Checkpoint:
  step: int
  wer: float | None
  scores: _Scores
  summary: dict[str, Any]
  words: int | None = None


@dataclasses.dataclass(frozen=True)
class _Audit:
  """What is read of a run's audit.json."""

  checkpoints: list[_Checkpoint]

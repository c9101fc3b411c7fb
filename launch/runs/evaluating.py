"""The error rates of a run, while it trains and at its end."""

from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from launch.recognition import error_rates, pretraining
from launch.recognition.driver import Driver
from models import registry
from tf_pcc.data import normalizers
from tf_pcc.data.mixing import AnyRecords

_EXAMPLES = 3


def validate(
  driver: Driver, records: AnyRecords, config: config_dict.ConfigDict
) -> dict[str, Any]:
  """The figures of a validation set.

  Args:
    driver: of the model that is trained.
    records: the set.
    config: the experiment's `ConfigDict`.

  Returns:
    dict with wer, or what `pretraining.score` gives of a model that does not
    transcribe.
  """
  if registry.is_recogniser(config.model.name):
    return {"wer": _evaluate(driver, records, config)[0].wer}
  return pretraining.score(driver, records)


def at_the_end(
  driver: Driver,
  splits: Mapping[str, AnyRecords],
  config: config_dict.ConfigDict,
) -> dict[str, Any]:
  """The figures of the sets that were not trained on, for the summary.

  Args:
    driver: of the trained model.
    splits: of `datasets.open_splits`.
    config: the experiment's `ConfigDict`.

  Returns:
    dict with wer, cer, words (of the references) and test_utterances, the same
    of a validation set, and examples: a few references with their transcripts.
  """
  result = {}
  for name in ("validation", "test"):
    if name not in splits:
      continue
    records = splits[name]
    prefix = "" if name == "test" else f"{name}_"
    if not registry.is_recogniser(config.model.name):
      found = validate(driver, records, config)
      result |= {f"{prefix}{key}": value for key, value in found.items()}
      result[f"{name}_utterances"] = len(records)
      continue
    found, transcripts = _evaluate(driver, records, config)
    result |= {
      f"{prefix}wer": found.wer,
      f"{prefix}cer": found.cer,
      f"{prefix}words": found.words,
      f"{name}_utterances": found.utterances,
    }
    if name == "test":
      result["examples"] = [
        {"id": i, "reference": r, "transcript": t}
        for i, r, t, _ in zip(
          records.ids, records.texts, transcripts, range(_EXAMPLES)
        )
      ]
  return result


def report(summary: dict[str, Any]) -> str:
  """The summary in words.

  Args:
    summary: what `launch.train.train` returned.

  Returns:
    A few lines.
  """
  seconds = summary["seconds_per_step"]
  lines = [
    f"{summary['steps']} steps on {summary['cores']} cores"
    + (f", {seconds:.3f} s a step" if seconds else "")
    + f", peak memory {summary['peak_memory_gb']:.1f} GB",
    f"clipping: {summary['clipping']}",
  ]
  if "wer" in summary:
    lines.append(
      f"test: WER {summary['wer']:.1%}, CER {summary['cer']:.1%} on "
      f"{summary['test_utterances']} utterances, "
      f"{_outside(summary)} the training set"
    )
  if summary.get("masked_accuracy") is not None:
    lines.append(
      f"test: {summary['masked_accuracy']:.1%} of {summary['masked_frames']} "
      f"masked frames told right, {summary['codes_in_use']:.1%} of the codes "
      "in use; fine-tune with --config.init_from"
    )
  for example in summary.get("examples", []):
    lines.append(f"  reference:  {example['reference']}")
    lines.append(f"  transcript: {example['transcript']}")
  return "\n".join(lines)


def _outside(summary):
  shared = summary["shared_with_training"].get("test", 0)
  return f"{shared} of them in" if shared else "outside"


def _evaluate(driver, records, config):
  found = driver.transcribe(records)
  plain = map(normalizers.get(config.data.normalizer), found)
  return error_rates.score(records.texts, list(plain)), found

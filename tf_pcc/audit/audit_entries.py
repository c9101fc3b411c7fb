"""The entries of audit.json, one a checkpoint: grouped, compared, named."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tf_pcc.audit import matching

# Figures followed over checkpoints. Lower CER means more memorization, a lower
# value of the others less.
FIGURES = ("exposure_all", "cer_all", "extraction_all")
_WORDS = {
  "exposure": ("mean exposure", ", bits", 1),
  "extrapolated_exposure": ("mean extrapolated exposure", ", bits", 1),
  "cer": ("character error rate", ", %", 100),
  "extraction": ("exact matches", ", %", 100),
  "auc": ("AUC", "", 1),
  "wer": ("word error rate", ", %", 100),
}


def by_run(
  entries: Iterable[Mapping[str, Any]],
) -> dict[str, list[Mapping[str, Any]]]:
  """Entries grouped by run.

  Args:
    entries: entries of audit.json, one for each checkpoint.

  Returns:
    Dict from run, in order of appearance, to its entries in order of steps.
  """
  runs = {}
  for entry in entries:
    runs.setdefault(entry["run"], []).append(entry)
  return {
    name: sorted(members, key=lambda entry: entry["step"])
    for name, members in runs.items()
  }


def last_of_runs(
  entries: Iterable[Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
  """The last checkpoint of each run.

  Args:
    entries: as of `by_run`.

  Returns:
    Entries, runs in order of appearance.
  """
  return [members[-1] for members in by_run(entries).values()]


def training_runs(
  entries: Iterable[Mapping[str, Any]], figures: Sequence[str] = FIGURES
) -> list[matching.Run]:
  """The runs whose word error rate is known, to be compared.

  Args:
    entries: entries of audit.json, one for each checkpoint.
    figures: names of figures, as `figure_of` takes them. Default `FIGURES`.

  Returns:
    List of `tf_pcc.audit.Run`.
  """
  runs = []
  for members in by_run(entries).values():
    known = [entry for entry in members if entry["wer"] is not None]
    if known:
      words = [e["words"] for e in known if e.get("words") is not None]
      runs.append(
        matching.Run(
          method=known[0]["method"],
          seed=known[0]["seed"],
          steps=tuple(entry["step"] for entry in known),
          wer=tuple(entry["wer"] for entry in known),
          memorization={
            name: tuple(figure_of(entry["summary"], name) for entry in known)
            for name in figures
          },
          words=min(words) if len(words) == len(known) else None,
        )
      )
  return runs


def figure_of(table: Mapping[str, Any], name: str) -> Any:
  """One number of a summary.

  Args:
    table: what `tf_pcc.audit.summarise` returns.
    name: a column and a repetition count, such as "exposure_all" or "cer_x16".

  Returns:
    The estimate, float or None.

  Raises:
    ValueError: If the summary lacks the figure or the repetition count.
  """
  key, _, count = name.rpartition("_")
  wanted = "all" if count == "all" else count.removeprefix("x")
  for row in table["rows"]:
    if str(row["repetitions"]) == wanted and isinstance(row.get(key), dict):
      return row[key]["estimate"]
  raise ValueError(
    "figure must be a column and a repetition count, such as exposure_all or "
    f"cer_x{table['rows'][0]['repetitions']}. Received: figure={name!r}"
  )


def meaning(name: str) -> tuple[str, float]:
  """Words for a figure such as "cer_x16" or "wer", and its scale.

  Args:
    name: as of `figure_of`, or "wer".

  Returns:
    (words with unit, factor to that unit): shares are shown in percent.
  """
  key, _, count = name.rpartition("_") if "_" in name else (name, "", "")
  words, unit, scale = _WORDS.get(key, (key, "", 1))
  if count:
    words += " of all canaries" if count == "all" else f" of canaries {count}"
  return f"{words}{unit}", scale

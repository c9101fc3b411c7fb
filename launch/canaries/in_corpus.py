"""Canaries among the utterances of a corpus, whoever trains on it."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator

from launch.canaries.of_run import Canaries
from launch.canaries.speaking import speaker_of
from tf_pcc import audit
from tf_pcc.data import inserting, text
from tf_pcc.data.utterances import Corpus, Utterance


def insert(corpus: Corpus, canaries: Canaries) -> Corpus:
  """A corpus with every canary as often as planned, evenly spread.

  The hold-out is left out. Repetition k of a canary has the id ID#k.

  Args:
    corpus: `tf_pcc.data.utterances.Corpus`.
    canaries: `launch.canaries.of_run.Canaries`.

  Returns:
    `Corpus`, a function of the arguments alone.

  Raises:
    ValueError: If a canary is repeated more often than there are utterances,
      or the text of a canary or a hold-out is in the corpus.
  """
  plan = canaries.plan
  refuse_texts(plan, corpus)
  rows = dict(zip((c.id for c in plan.canaries), canaries.rows(plan.canaries)))
  # What a stopped preparation is compared with: this very sound.
  origin = f"canaries:{canaries.records.index['sha256']}"
  utterances, sources = [], []
  due = collections.defaultdict(list)
  for position, canary, repetition in repetitions(plan, len(corpus)):
    due[position].append((canary, repetition))
  for position, ordinary in enumerate(corpus):
    for canary, repetition in due[position]:
      utterances.append(
        Utterance(
          f"{canary.id}#{repetition}",
          origin,
          text.normalize(canary.text),
          speaker=speaker_of(canary),
        )
      )
      sources.append(rows[canary.id])
    utterances.append(ordinary)
    sources.append(None)
  spoken = canaries.records
  reader = inserting.Inserted(
    corpus, tuple(sources), spoken.read, spoken.sample_rate
  )
  return dataclasses.replace(
    corpus, utterances=tuple(utterances), reader=reader
  )


def repetitions(
  plan: audit.CanaryPlan, total: int
) -> Iterator[tuple[int, audit.Canary, int]]:
  """Which canary comes before which ordinary utterance.

  Args:
    plan: `tf_pcc.audit.CanaryPlan`; its seed is that of the places, too.
    total: int, ordinary utterances.

  Yields:
    (number of the ordinary utterance, `Canary`, its repetition from 1), in
    order.

  Raises:
    ValueError: If a canary is repeated more often than there are utterances.
  """
  require_room(plan.repetitions.tolist(), total)
  schedule = audit.insertion_schedule(plan, total, plan.settings["seed"])
  repeated = collections.Counter()
  for position, index in zip(schedule.positions, schedule.canaries):
    repeated[index] += 1
    yield int(position), plan.canaries[index], repeated[index]


def require_room(counts: Iterable[int], total: int) -> None:
  """Refuses repetition counts that so many utterances cannot spread.

  Args:
    counts: ints.
    total: int, ordinary utterances.

  Raises:
    ValueError: If there are fewer utterances than repetitions.
  """
  most = max(counts, default=0)
  if most > total:
    raise ValueError(
      f"the corpus must have at least {most} utterances to spread the "
      f"{most} repetitions of a canary; plan fewer (canaries.repetitions) or "
      f"take a larger corpus. Received: utterances={total}"
    )


def refuse_texts(plan: audit.CanaryPlan, corpus: Iterable[Utterance]) -> None:
  """Refuses a corpus that says what the plan's canaries say.

  Args:
    plan: `tf_pcc.audit.CanaryPlan`.
    corpus: iterable of `Utterance`.

  Raises:
    ValueError: If there is such a text; utterances and canaries are named.
  """
  planned = {text.normalize(canary.text): canary.id for canary in plan.all}
  found = [(u.id, planned[u.text]) for u in corpus if u.text in planned]
  if found:
    raise ValueError(
      f"--canaries must be new to the corpus, but {len(found)} utterances say "
      "what a canary or a hold-out says: plan others, from these transcripts, "
      "or take a corpus that holds no canaries yet. Received: "
      + ", ".join(f"{name} as {canary}" for name, canary in found[:5])
    )

"""The laboratory of 24 words: are the claims about per-core clipping true?

Written down before the runs; `git log` of this file says when, and RESULTS.md
names the commit that ran.

Data: 6,760 sentences of 2 to 4 of 24 words, spoken by SVOX Pico (py-nanotts)
with random voices, pitch and rate, each met about once; 4,000 others to test
on, among them nearly all there are of two words. Canaries: 4 random words of
the same 24 at 4 times the speed, 75 for each of 1, 2, 4 and 8 repetitions,
1,125 of the 6,720 utterances of a run (17%); 1,000 held out, so exposure is
9.97 bits at most. They are the same for all methods and seeds: intervals are
over seeds and hold for these canaries.
Model: Conformer CTC, size tiny, a label a word, blank prior 0.9 (the package's
default), no SpecAugment; 420 steps of 16, Adam with cosine decay.
desk_claims.py:conformer_transducer is the same with a transducer.
Source: the questions are those of Wang et al., Interspeech 2024 (arXiv
2406.02004); every size and rate is this package's.

| method      | units clipped on their own | bound                 |
|-------------|----------------------------|-----------------------|
| none        | -                          | -                     |
| batch       | the mean of all 16         | chosen                |
| pcc         | 8 of 2 utterances          | chosen                |
| per_example | 16 of 1 utterance          | chosen                |
| apcc        | 8 of 2 utterances          | smallest norm a step  |
| running     | 8 of 2 utterances          | smallest running norm |

Learning rate and beta_2 are chosen for the first four. apcc and running take
those of batch, and divide the update by the bound (clipping.normalize auto).

Choice: `launch/comparison/choosing.py`, out of GRID, by the mean of two seeds
that no other run has, at full length without canaries, on a corpus of the same
words and voices that has no test set: 6,760 sentences to train on and 1,000 to
choose by.

Endpoints, at the last step of equally long runs, paired over seeds:

- Primary: mean exposure of all canaries, each method minus batch. All methods
  have met the canaries equally often. It compares equally good recognisers
  where mean last word error rates agree within 0.3 points, which is printed.
- Co-primary: last word error rate of apcc and of running minus that of the
  method with the lowest validation error among those something was chosen for;
  the claim is that it is less than 0.3 points higher.
- Secondary, uncorrected: exposure at matched word error rate, interpolated in
  log((errors + 0.5) / words); steps to 10%; CER of canaries minus that of
  hold-outs; exact matches.

Verdicts: Student's t at 5 seeds with level 0.01 and at 10 with 0.045, Holm's
correction over all primary and co-primary endpoints
(`tf_pcc/audit/sequential.py`). No variance is pooled.
Checkpoints: every 60 steps; before the last one word error rates are those of
the first 1,000 test utterances.

  python -m launch.compare --config=launch/configs/desk_claims.py --choose \\
    --until=decided --parallel=1 --workdir=runs/claims
"""

import math

from ml_collections import config_dict

from launch.configs import base

FAMILY = ("none", "batch", "pcc", "apcc", "running", "per_example")
GRID = {
  "optimizer.learning_rate": (5e-4, 1e-3, 2e-3),
  "optimizer.beta_2": (0.95, 0.98, 0.999),
  "clipping.bound": (2.5, 8.0, 25.0, math.inf),
}
# Without a test set other sentences are drawn, and fewer scored.
CHOICE = {"data.utterances.test": 0}
AUDIT = ("--test_utterances=1000",)
QUICK = {
  "data.utterances.validation": 100,
  "data.utterances.test": 200,
  "canaries.per_count": 20,
  "canaries.holdout": 100,
  "steps": 240,
}


def get_config(model: str = "conformer_ctc") -> config_dict.ConfigDict:
  config = base.get_config()
  config.data.kind = "synthetic"
  config.data.words = 24
  config.data.utterances = {"train": 6760, "validation": 1000, "test": 4000}
  # Short batches: one sentence in a hundred is longer and left out.
  config.data.buckets_seconds = (2.2,)
  config.tokenizer.kind = "word"
  config.model.name = model
  config.model.fields = {
    "size": "tiny",
    "specaugment": {"frequency_masks": 0, "time_masks": 0},
  }
  config.batch = 16
  config.cores = 1
  config.steps = 420
  config.optimizer.learning_rate = 1e-3
  config.optimizer.beta_2 = 0.98
  config.optimizer.warmup_steps = 20
  config.clipping.bound = 8.0
  config.clipping.microbatches = 8
  config.canaries.insert = True
  config.canaries.repetitions = (1, 2, 4, 8)
  config.canaries.per_count = 75
  config.canaries.holdout = 1000
  config.log_every = 10
  config.checkpoint_every = 60
  config.keep_checkpoints = 0
  return config

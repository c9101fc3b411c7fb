"""The memorization laboratory: does per-core clipping make a recogniser forget?

Data: 40,000 sentences of 2 to 4 of about 150 common words, spoken by SVOX Pico
(py-nanotts) with random voices, pitch and rate, each seen about once; 400
others to test on and 200 to choose bounds on. Canaries: 4 random words of the
same 150 at 4 times the speed, 20 for each of 1, 2, 4, 8, 16 and 32 repetitions,
200 held out; the same for all methods and seeds. Model: Conformer CTC, size
tiny, a label a word, no SpecAugment (it would delay what one pass over clean
speech can teach), Adam with cosine decay.
Source: the questions are those of Wang et al., Interspeech 2024 (arXiv
2406.02004) and ICASSP 2024 (arXiv 2310.11739); every size and rate is this
package's.

| method             | units clipped on their own   | bound                  |
|--------------------|------------------------------|------------------------|
| none               | -                            | -                      |
| batch              | the mean of all 48           | chosen                 |
| pcc                | 24 of 2 utterances           | chosen                 |
| apcc               | 24 of 2 utterances           | smallest norm a step   |
| running            | 24 of 2 utterances           | smallest running norm  |
| per_example        | 48 of 1 utterance            | chosen                 |

R cores with k micro-batches each clip R * k units, whatever R and k: here one
core clips all 24, which traces fastest on two real ones (11 s; 2 x 12 takes 26
and 4 x 6 takes 29) and costs as much a step (0.5 to 0.6 s for each split, 0.34
without clipping, on two busy cores).

"Chosen": --choose_bound trains each of BOUNDS for CHOICE["steps"] steps with
another seed and no canaries and takes the lowest validation word error rate.

  python -m launch.compare --config=launch/configs/desk_memorization.py \\
    --methods=none,batch,pcc,apcc --seeds=3 --workdir=runs/memorization \\
    --choose_bound
"""

from ml_collections import config_dict

from launch.configs import base

BOUNDS = (1.0, 2.5, 6.0, 15.0)
CHOICE = {"steps": 280}
# Sentences of 16 words are learnt from a tenth of the speech.
QUICK = {
  "data.words": 16,
  "data.utterances.train": 4000,
  "data.utterances.validation": 50,
  "data.utterances.test": 100,
  "canaries.repetitions": (1, 4, 16),
  "canaries.per_count": 10,
  "canaries.holdout": 40,
  "steps": 240,
  "batch": 16,
  "optimizer.warmup_steps": 20,
  "clipping.microbatches": 8,
  "checkpoint_every": 40,
}


def get_config() -> config_dict.ConfigDict:
  config = base.get_config()
  config.data.kind = "synthetic"
  config.data.utterances = {"train": 40000, "validation": 200, "test": 400}
  # Short batches: one sentence in a hundred is longer and left out.
  config.data.buckets_seconds = (2.2,)
  config.tokenizer.kind = "word"
  config.model.fields = {
    "size": "tiny",
    "specaugment": {"frequency_masks": 0, "time_masks": 0},
  }
  config.batch = 48
  config.cores = 1
  config.steps = 840
  config.optimizer.learning_rate = 1e-3
  config.optimizer.beta_2 = 0.999
  config.optimizer.warmup_steps = 50
  config.clipping.microbatches = 24
  config.canaries.insert = True
  config.log_every = 20
  config.checkpoint_every = 84
  config.keep_checkpoints = 0
  return config

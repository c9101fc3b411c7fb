"""LibriSpeech 960 h on a Cloud TPU v5e-8: Conformer, CTC, wordpieces, APCC.

Data: LibriSpeech train-clean-100, train-clean-360 and train-other-500, prepared
by launch.prepare to 16-bit PCM records (about 110 GB), dev-clean to validate,
test-clean to test. Utterances over 16.8 s (under 1% of the hours) are left out,
so that all batches have one static shape.
Model: Conformer S, M or L (table 1 of Gulati et al., arXiv 2005.08100, whose
10.3, 30.7 and 118.8 million parameters count the transducer's decoder too),
bfloat16, 1,024 wordpieces; Adam and the Transformer's schedule as there, with
this package's batch and step count: 32 utterances a core, with L 24, the most
that fit (launch.plan). S unless the file's name is followed by a size, as in
librispeech_conformer_ctc.py:M.
Cost and expected result: neither has been measured, no TPU was at hand. The
paper's Conformer S transducer has 2.7% WER on test-clean without a language
model; CTC without one should be expected above that.

  python -m launch.train --config=launch/configs/librispeech_conformer_ctc.py \\
    --tpu=local --workdir=gs://BUCKET/runs/conformer-s-apcc \\
    --config.data.train=gs://BUCKET/records/train-960 \\
    --config.data.validation=gs://BUCKET/records/dev-clean \\
    --config.data.test=gs://BUCKET/records/test-clean
"""

from ml_collections import config_dict

from launch.configs import base
from models import conformer

_CORES = 8


def get_config(size: str = "S") -> config_dict.ConfigDict:
  size = size or "S"
  config = base.get_config()
  config.policy = "mixed_bfloat16"
  config.cores = _CORES
  config.batch = _CORES * (24 if size == "L" else 32)
  config.steps = 100_000
  # So many are finished before a preempted run saves: a few seconds.
  config.steps_per_call = 10
  config.data.buckets_seconds = (16.8,)
  config.tokenizer.size = 1024
  config.model.fields = {"size": size}
  config.optimizer.schedule = "rsqrt"
  # 0.05 / sqrt(d) at the end of 10,000 steps (arXiv 2005.08100).
  dim = conformer.SIZES[size].dim
  config.optimizer.learning_rate = 0.05 / dim**0.5
  config.optimizer.warmup_steps = 10_000
  config.optimizer.beta_2 = 0.98
  config.optimizer.arguments = {"epsilon": 1e-9}
  config.log_every = 100
  config.checkpoint_every = 2000
  config.validate_every = 2000
  config.keep_checkpoints = 10
  return config

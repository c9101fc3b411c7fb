"""Learns 64 short utterances of real read speech by heart.

Shows that features, encoder, CTC and wordpieces work on real speech without the
days of training that generalising takes: the test set IS the training set.
Data: records of at least 64 utterances under 5 s, for example of LibriSpeech
dev-clean. Model: Conformer CTC, size tiny.

  python -m launch.prepare --corpus=LibriSpeech/dev-clean --max_seconds=5 \\
    --first=64 --output=data/short
  python -m launch.train --config=launch/configs/overfit.py \\
    --config.data.train=data/short --config.data.test=data/short \\
    --workdir=runs/overfit
"""

from ml_collections import config_dict

from launch.configs import base


def get_config() -> config_dict.ConfigDict:
  config = base.get_config()
  config.cores = 2
  config.batch = 16
  config.tokenizer.size = 128
  config.model.fields = {
    "size": "tiny",
    "specaugment": {"frequency_masks": 0, "time_masks": 0},
  }
  config.clipping.method = "apcc"
  config.steps = 400
  config.optimizer.learning_rate = 1e-3
  config.optimizer.beta_2 = 0.999
  config.optimizer.warmup_steps = 50
  return config

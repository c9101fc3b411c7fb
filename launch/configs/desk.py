"""A whole experiment on a desk: synthetic speech, a tiny Conformer, 8 cores.

Data: 8,000 sentences of 2 to 4 of 150 common words, spoken by SVOX Pico
(py-nanotts) with random voices, pitch and rate; 400 other sentences to test on.
Model: Conformer CTC, size tiny, wordpieces. APCC (minimum over the cores).
Source: the method is Wang et al., Interspeech 2024, arXiv 2406.02004; the
corpus, the sizes and the rates are this package's.
Cost: 4 minutes of training on 2 CPU cores. Result: 4.2% WER in the paper's
literal form, --config.clipping.normalize=false (RESULTS.md).

  python -m launch.train --workdir=runs/desk
"""

from ml_collections import config_dict

from launch.configs import base


def get_config() -> config_dict.ConfigDict:
  config = base.get_config()
  config.data.kind = "synthetic"
  # Three passes over clean speech are learnt sooner without augmentation.
  config.model.fields = {
    "size": "tiny",
    "specaugment": {"frequency_masks": 0, "time_masks": 0},
  }
  config.steps = 500
  config.optimizer.learning_rate = 1e-3
  config.optimizer.beta_2 = 0.999
  config.optimizer.warmup_steps = 50
  config.log_every = 20
  config.checkpoint_every = 200
  return config

"""Connected digits: real recordings of single digits, joined to strings.

Data: a manifest of single recorded words with speakers, such as the Free Spoken
Digit Dataset (Jackson et al., CC BY-SA 4.0): 40 of each speaker's 50 recordings
of a digit make the training strings of 2 to 6, the other 10 the test strings.
Model: Conformer CTC, size tiny, a label a word. APCC.
Source: the corpus' recipe, the sizes and the rates are this package's.

  python -m launch.train --config=launch/configs/digits.py \\
    --config.data.manifest=PATH/manifest.tsv --workdir=runs/digits
"""

from ml_collections import config_dict

from launch.configs import base


def get_config() -> config_dict.ConfigDict:
  config = base.get_config()
  config.data.kind = "digits"
  config.data.utterances = {"train": 4000, "validation": 0, "test": 400}
  config.tokenizer.kind = "word"
  # Ten words, spoken by four speakers, are learnt sooner without augmentation.
  config.model.fields = {
    "size": "tiny",
    "specaugment": {"frequency_masks": 0, "time_masks": 0},
  }
  config.cores = 4
  config.batch = 32
  config.steps = 500
  config.optimizer.learning_rate = 1e-3
  config.optimizer.beta_2 = 0.999
  config.optimizer.warmup_steps = 50
  return config

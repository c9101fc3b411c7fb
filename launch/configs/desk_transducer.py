"""The experiment of desk.py with a Conformer transducer.

Data: as in desk.py. Model: Conformer transducer, size tiny, LSTM prediction
network (`--config.model.fields.prediction=stateless` for the other one),
wordpieces. APCC (minimum over the cores).
Source: as in desk.py; the transducer is Graves, arXiv 1211.3711.
Cost: 5 minutes on one CPU core (--config.cores=1). Result: 3.4% WER,
with canaries in the training (RESULTS.md, "The other families").

  python -m launch.train --config=launch/configs/desk_transducer.py \\
    --workdir=runs/desk_transducer
"""

from ml_collections import config_dict

from launch.configs import desk


def get_config() -> config_dict.ConfigDict:
  config = desk.get_config()
  config.model.name = "conformer_transducer"
  config.model.fields = {**config.model.fields, "prediction": "lstm"}
  # Of 500 steps a transducer's greedy search still leaves words out.
  config.steps = 800
  return config

"""The experiment of desk.py with one encoder and two losses.

Data: as in desk.py. Model: Conformer, size tiny, with a transducer (LSTM
prediction network; `--config.model.fields.prediction=stateless` for the other
one) and a CTC layer; the loss is 0.7 times the transducer's and 0.3 times
CTC's. Transcripts come from the transducer. APCC (minimum over the cores).
Source: as in desk.py; both losses on one encoder: Boyer et al., arXiv
2201.05420.
Cost: 6 minutes on one CPU core (--config.cores=1). Result: 3.3% WER,
with canaries in the training (RESULTS.md, "The other families").

  python -m launch.train --config=launch/configs/desk_hybrid.py \\
    --workdir=runs/desk_hybrid
"""

from ml_collections import config_dict

from launch.configs import desk_transducer


def get_config() -> config_dict.ConfigDict:
  config = desk_transducer.get_config()
  config.model.name = "hybrid"
  config.model.fields = {**config.model.fields, "ctc_weight": 0.3}
  return config

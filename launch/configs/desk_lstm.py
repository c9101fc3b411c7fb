"""The experiment of desk.py with LSTM layers instead of a Conformer.

Data: as in desk.py. Model: LSTM CTC, size tiny (2 bidirectional layers of 160
cells), wordpieces; `--config.model.fields.encoder.bidirectional=False` for one
that runs forwards only. APCC (minimum over the cores).
Source: as in desk.py; the network is Graves et al., arXiv 1303.5778, behind a
subsampling.
Cost: 11 minutes on one CPU core (--config.cores=1). Result: 3.1% WER,
with canaries in the training (RESULTS.md, "The other families").

  python -m launch.train --config=launch/configs/desk_lstm.py \\
    --workdir=runs/desk_lstm
"""

from ml_collections import config_dict

from launch.configs import desk


def get_config() -> config_dict.ConfigDict:
  config = desk.get_config()
  config.model.name = "lstm_ctc"
  config.model.fields = {
    **config.model.fields,
    "encoder": {"bidirectional": True},
  }
  # It learns in more and longer steps than a Conformer.
  config.steps = 1000
  config.optimizer.learning_rate = 4e-3
  return config

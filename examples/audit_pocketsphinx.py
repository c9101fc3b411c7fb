"""Audits a recogniser that is not ours: PocketSphinx, its model in the wheel.

  pip install pocketsphinx
  python -m launch.audit --workdir=runs/desk --output=audit_pocketsphinx \
    --transcribe=examples.audit_pocketsphinx:transcribe

The run lends its canaries and its test set; --plan=canaries.json alone will
do, too. PocketSphinx was trained on neither, so this shows what an audit finds
where nothing was memorized: exposure about 1.44 bits (1 / ln 2) and AUC about
0.5, whatever the repetitions. To audit a recogniser of your own, train it with
the canaries of the plan and write such a function for it.
"""

import functools

import numpy as np


def transcribe(waveforms, sample_rate):
  """The transcripts of PocketSphinx's US English model.

  Args:
    waveforms: list of float32 arrays [samples] in [-1, 1].
    sample_rate: int, Hz.

  Returns:
    list of strings, empty ones where it recognises nothing.
  """
  decoder = _decoder(sample_rate)
  result = []
  for waveform in waveforms:
    # It needs silence before and after.
    waveform = np.pad(waveform, sample_rate // 4)
    samples = np.clip(np.round(waveform * 2.0**15), -(2**15), 2**15 - 1)
    decoder.start_utt()
    decoder.process_raw(samples.astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    hypothesis = decoder.hyp()
    result.append(hypothesis.hypstr if hypothesis else "")
  return result


@functools.cache
def _decoder(sample_rate):
  import pocketsphinx

  # Cepstral means of each utterance alone: the order of the canaries must not
  # matter.
  return pocketsphinx.Decoder(
    samprate=float(sample_rate), cmn="batch", loglevel="FATAL"
  )

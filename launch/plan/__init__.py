"""What a job does on a TPU, found out without one.

TensorFlow's internals are used here and nowhere else; each module lists its
own. They are those of TensorFlow 2.17.1, which setup.cfg pins.

| module       | question                                                  |
|--------------|-----------------------------------------------------------|
| `tracing`    | does the step trace under a TPUStrategy, on its variables? |
| `dataflow`   | is the clip before the sum over cores? what waits for what?|
| `copies`     | does the traced program compute what the method says?     |
| `bridge`     | does TensorFlow's TPU bridge take it, with static shapes?  |

None of them runs anything on a TPU: execution, speed and a TPU's own
arithmetic stay unproven.
"""

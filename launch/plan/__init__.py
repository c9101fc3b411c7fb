"""What a job does on a TPU, found out without one.

TensorFlow's internals are used here and nowhere else; each module lists its
own. They were tested with TensorFlow 2.17.1 and 2.21.0; a plan says which one
traced its step.

| module       | question                                                  |
|--------------|-----------------------------------------------------------|
| `tracing`    | does the step trace under a TPUStrategy, on its variables? |
| `dataflow`   | is the clip before the sum over cores? what waits for what?|
| `copies`     | does the traced program compute what the method says?     |
| `bridge`     | does TensorFlow's TPU bridge take it, with static shapes?  |
| `stablehlo`  | what does XLA get, and what does it compute with it?       |
| `flops`      | how many operations is it?                                |
| `traffic`    | which layers move the bytes?                              |
| `planning`   | does libtpu compile it for a slice, and does it fit?       |
| `largest_batch` | which is the largest batch that fits?                  |
| `refusal`    | where in the model is what is not taken?                  |
| `step`       | what is known of a step, with units                       |
| `findings`   | what was found before, and what follows from it?          |
| `extension`  | what do programs of fewer blocks say of all?               |
| `job`        | what is a run of such steps?                              |
| `comparing`  | what do methods, sizes and slices differ in?              |

`python -m launch.plan` asks all of it of a config, `python -m
launch.plan.tables` of many. None of them runs anything on a TPU: execution,
speed and a TPU's own arithmetic stay unproven. `copies` is used by tests only.
"""

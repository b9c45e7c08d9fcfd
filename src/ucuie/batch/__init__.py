"""Many texts, in files of any number and size, on one machine or many: `ucuie batch`.

Rows of `sources` are cut into shards and slices by `work`, answered by the workers of `local`, `cluster` or
`endpoint`, and written by `output`; `run` is all of it together. Whatever the engine, the same rows share the
same slices and go through the same `question`, so the content is the same. A shard appears when it is whole,
in one step; what an interrupted run has finished is never done again.
"""

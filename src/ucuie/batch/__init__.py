"""Many texts, in files of any number and size, on one machine or many: `ucuie batch`.

    rows      a text as it stands in its file, how it is read, and what becomes of it
    readers   rows of JSON Lines, plain text, CSV, TSV and Parquet
    sources   files of texts, anywhere that fsspec reaches, as a stream of rows
    texts     one file or folder at once, for `ucuie extract --input`
    work      rows cut into shards, which are finished one by one, and slices, which are answered at once
    question  what is asked of every row, and how rows become queries and lines
    job       a model that answers rows, in one process or many
    local     slices to processes of this machine
    cluster   slices to actors of a Ray cluster
    endpoint  slices to a model behind an OpenAI-compatible server
    output    the folder of finished shards, with the manifest that says whose they are
    run       all of it together

Whatever the engine, the same rows share the same slices and go through the same function, so the content is
the same. A shard appears when it is whole, in one step; what an interrupted run has finished is never done
again.
"""

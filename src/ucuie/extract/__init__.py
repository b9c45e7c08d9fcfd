"""From a text and a schema to an extraction, with a model here (`extractor`) or elsewhere (`remote`).

`query` is what is asked, `prompts` and `document` take a text apart and put what was found together, `result`
is what is answered.
"""

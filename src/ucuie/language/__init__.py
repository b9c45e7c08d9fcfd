"""The language between text and model: instructions in, records out, all of it strings and token ids.

`pool` words what is asked, `encode` makes token ids of it; `linearize` writes records as text and reads
them back, `grammar` says what may be written, `align` finds its place in the text; `windows` divides long
texts, `merging` puts together what was found in them. Loads no torch.
"""

"""Lets a causal language model write outputs under their grammars: batched, greedy, with a KV cache.

In: token ids of instruction and text with the grammar of each. Out: the tokens written, and for every choice
the grammar left, how likely each allowed token was. The instruction is computed once and shared by all rows;
tokens that the grammar forces are fed in one piece without asking the model. Knows no schema and no record.
"""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import batched
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import DynamicCache

from ucuie.decode.grammar import GrammarFactory, GrammarState, Mask, allowed_tokens
from ucuie.errors import TextError

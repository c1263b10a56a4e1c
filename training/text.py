"""The text side: a byte-pair vocabulary of the catalogue's own words, and items' token matrices.

The tokenizer file is Hugging Face `tokenizers` JSON and uses only parts that the JavaScript package
`@huggingface/tokenizers` reads to identical ids (NFKC, lowercase, whitespace and punctuation splitting, BPE).
"""

from __future__ import annotations

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

PAD, UNKNOWN = "[PAD]", "[UNK]"


def train_tokenizer(texts: list[str], vocabulary: int) -> Tokenizer:
    """A BPE tokenizer over lower-cased NFKC text; id 0 is padding, id 1 an unknown character."""
    tokenizer = Tokenizer(models.BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r"[\p{L}\p{M}]+|\p{N}|[^\s\p{L}\p{M}\p{N}]"), "removed", invert=True
    )
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, min_frequency=2, special_tokens=[PAD, UNKNOWN], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def token_matrix(tokenizer: Tokenizer, texts: list[str], length: int) -> np.ndarray:
    """int32 (texts, longest <= length) ids, 0 = padding; longer texts are cut. No special tokens are added."""
    encoded = [row.ids[:length] for row in tokenizer.encode_batch(texts, add_special_tokens=False)]
    width = max(1, max(map(len, encoded), default=1))
    matrix = np.zeros((len(texts), width), np.int32)
    for row, ids in enumerate(encoded):
        matrix[row, : len(ids)] = ids
    return matrix

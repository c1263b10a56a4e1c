"""Times Hugging Face's T5 `generate` on one thread, in rounds that whoever started it asks for.

Reads one number a line from standard input and answers with that many times in milliseconds, as a JSON array on one line.
The model is UniGRec's and TIGER's size with random weights: 6 + 6 layers, d 128, ff 512, 4 heads of 64, 870 tokens.
"""

from __future__ import annotations

import json
import sys
import time

import torch
import transformers
from transformers import GenerationConfig, T5Config, T5ForConditionalGeneration

INPUT_TOKENS = 60  # 20 items of three tokens
NEW_TOKENS = 3
BEAMS = int(sys.argv[1])

torch.set_num_threads(1)
torch.set_num_interop_threads(1)
torch.manual_seed(0)
transformers.utils.logging.set_verbosity_error()

shape = {"vocab_size": 870, "d_model": 128, "d_ff": 512, "d_kv": 64, "num_heads": 4}
config = T5Config(
    **shape, num_layers=6, num_decoder_layers=6, dropout_rate=0.1, pad_token_id=0, decoder_start_token_id=0
)
config.eos_token_id = None  # three codes are an item: no beam ends early
model = T5ForConditionalGeneration(config).eval()
plan = GenerationConfig(
    num_beams=BEAMS,
    num_return_sequences=BEAMS,
    max_new_tokens=NEW_TOKENS,
    do_sample=False,
    pad_token_id=0,
    eos_token_id=None,
    decoder_start_token_id=0,
    use_cache=True,
)


def history(turn: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(turn)
    return torch.randint(1, 769, (1, INPUT_TOKENS), generator=generator)


@torch.inference_mode()
def timed(turn: int) -> float:
    ids = history(turn)
    mask = torch.ones_like(ids)
    began = time.perf_counter()
    found = model.generate(input_ids=ids, attention_mask=mask, generation_config=plan)
    elapsed = 1000 * (time.perf_counter() - began)
    if tuple(found.shape) != (BEAMS, 1 + NEW_TOKENS):
        raise RuntimeError(f"generated {tuple(found.shape)}, not {(BEAMS, 1 + NEW_TOKENS)}")
    return elapsed


about = {
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "threads": torch.get_num_threads(),
    "parameters": sum(p.numel() for p in model.parameters()),
}
print(json.dumps(about), flush=True)
turn = 0
for line in sys.stdin:
    times = []
    for _ in range(int(line)):
        times.append(round(timed(turn), 4))
        turn += 1
    print(json.dumps(times), flush=True)

"""What sample_token leaves of the logits against transformers' logits processors, in transformers' order."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

try:
    import torch
    from transformers.generation import logits_process as hf
except ImportError:
    sys.exit(77)

random.seed(0)
torch.manual_seed(0)
requests = []
for _ in range(400):
    size = random.choice([2, 10, 300])
    options = {"temperature": random.choice([0.3, 0.7, 1.0, 1.8]), "top_k": random.choice([0, 1, 5, 40]),
               "top_p": random.choice([1.0, 0.3, 0.9, 0.99]), "min_p": random.choice([0.0, 0.05, 0.4]),
               "repetition_penalty": random.choice([1.0, 1.3, 0.8]), "seed": random.randrange(1000)}
    requests.append({"logits": (torch.randn(size) * 3).tolist(), "options": options,
                     "history": [random.randrange(size) for _ in range(random.randrange(1, 20))]})

answers = subprocess.run([Path(os.environ["RETORT_BIN"]) / "sample_tool"], text=True, capture_output=True, check=True,
                         input="\n".join(map(json.dumps, requests))).stdout.splitlines()
assert len(answers) == len(requests)
removed = 0
for request, answer in zip(requests, map(json.loads, answers)):
    options, scores = request["options"], torch.tensor([request["logits"]])
    history = torch.tensor([request["history"]])
    steps = []
    if options["repetition_penalty"] != 1:
        steps.append(hf.RepetitionPenaltyLogitsProcessor(options["repetition_penalty"]))
    steps.append(hf.TemperatureLogitsWarper(options["temperature"]))
    if options["top_k"]:
        steps.append(hf.TopKLogitsWarper(options["top_k"]))
    if options["top_p"] < 1:
        steps.append(hf.TopPLogitsWarper(options["top_p"]))
    if options["min_p"]:
        steps.append(hf.MinPLogitsWarper(options["min_p"]))
    for step in steps:
        scores = step(history, scores)
    found = torch.tensor([float("-inf") if x is None else x for x in answer["logits"]])
    torch.testing.assert_close(found, scores[0], rtol=1e-6, atol=1e-6, msg=lambda m: f"{m}\n{options}")
    assert scores[0, answer["token"]] > float("-inf")
    removed += int((scores == float("-inf")).sum())
assert removed > 1000
print(f"{len(requests)} distributions, {removed} tokens removed")

"""stories260K, a real small model with a published greedy text: written as GGUF by the `gguf` package, in the llama architecture's
layout and with SentencePiece scores, it opens and tells the story; and still does after the way to a Hugging Face folder and back."""
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import gguf
    import numpy as np
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

EDGE = Path(os.environ["RETORT_BIN"]) / "retort-edge"
FIXTURE = Path(__file__).resolve().parents[1] / "fixtures/stories260K"
STEPS = 200


def tokens_of(path):
    """llama2.c's tokenizer: the longest token's length, then score, length and bytes of each."""
    data, at = path.read_bytes(), 4
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        yield data[at + 8:at + 8 + length].decode(), score
        at += 8 + length


def kind(text):
    if text in ("<unk>", "<s>", "</s>"):
        return gguf.TokenType.UNKNOWN if text == "<unk>" else gguf.TokenType.CONTROL
    return gguf.TokenType.BYTE if text.startswith("<0x") else gguf.TokenType.NORMAL


def write(path):
    data = subprocess.run(["zstd", "-dcq", FIXTURE / "stories260K.bin.zst"], check=True, stdout=subprocess.PIPE).stdout
    width, inner, layers, heads, kv_heads, vocabulary, context = struct.unpack_from("<7i", data)
    values, at = np.frombuffer(data, np.float32, offset=28), 0

    def take(*shape):
        nonlocal at
        at += np.prod(shape)
        return values[at - np.prod(shape):at].reshape(shape)

    kv_width = kv_heads * width // heads
    embedding = take(vocabulary, width)
    tensors = {name: take(layers, *shape) for name, shape in (
        ("attn_norm", (width,)), ("attn_q", (width, width)), ("attn_k", (kv_width, width)), ("attn_v", (kv_width, width)),
        ("attn_output", (width, width)), ("ffn_norm", (width,)), ("ffn_gate", (inner, width)), ("ffn_down", (width, inner)),
        ("ffn_up", (inner, width)))}
    final_norm = take(width)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    texts, scores = zip(*((text.strip() if kind(text.strip()) == gguf.TokenType.CONTROL else text, score)
                          for text, score in tokens_of(FIXTURE / "tok512.bin")))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text.replace(" ", "▁") for text in texts])
    writer.add_token_scores(scores)
    writer.add_token_types([kind(text) for text in texts])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", final_norm)
    for i in range(layers):
        for name, value in tensors.items():
            writer.add_tensor(f"blk.{i}.{name}.weight", value[i])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def edge(*arguments):
    result = subprocess.run([EDGE, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


story = (FIXTURE / "expected_greedy_200steps.txt").read_text().rstrip("\n")
with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    write(folder / "stories.gguf")
    edge("export", "--model", folder / "stories.gguf", "--format", "hf", "--out", folder / "hf")
    edge("export", "--model", folder / "hf", "--out", folder / "again.gguf")
    for model in ("stories.gguf", "hf", "again.gguf"):
        for beginning in ("Once upon a time", story[:100]):
            told = beginning + edge("generate", "--model", folder / model, "--raw", "--prompt", beginning, "--temperature", 0, "--max-tokens", STEPS)
            assert told.startswith(story), f"{model}: {told!r}\nexpected {story!r}"
print(f"the story of {len(story)} characters is told")

"""Small random models of every family, and what of their configs decides results."""

import transformers as t

small = dict(vocab_size=61, hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, eos_token_id=[3, 5], bos_token_id=1)
llama3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
configs = {
    "llama": t.LlamaConfig(**small, rope_parameters=llama3),
    "llama_biases_tied": t.LlamaConfig(**small, attention_bias=True, mlp_bias=True, head_dim=16, tie_word_embeddings=True,
                                       rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=4.0)),
    "mistral": t.MistralConfig(**small, sliding_window=7),
    "mistral_full": t.MistralConfig(**small, sliding_window=None),
    "qwen2": t.Qwen2Config(**small, tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
    "qwen2_window": t.Qwen2Config(**small, use_sliding_window=True, sliding_window=9, max_window_layers=1),
    "qwen2_mixed": t.Qwen2Config(**small, use_sliding_window=True, sliding_window=9, layer_types=[
        "sliding_attention", "full_attention", "sliding_attention"]),
    "qwen3": t.Qwen3Config(**small, head_dim=24, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
    "qwen3_biases": t.Qwen3Config(**small, head_dim=8, attention_bias=True),
    "gpt2": t.GPT2Config(vocab_size=61, n_positions=48, n_embd=32, n_layer=3, n_head=4, bos_token_id=7, eos_token_id=7),
    "gpt2_untied": t.GPT2Config(vocab_size=61, n_positions=48, n_embd=32, n_layer=2, n_head=2, n_inner=50,
                                activation_function="relu", layer_norm_epsilon=1e-4, tie_word_embeddings=False),
    "opt": t.OPTConfig(vocab_size=61, hidden_size=32, ffn_dim=40, num_hidden_layers=3, num_attention_heads=4,
                       max_position_embeddings=48, word_embed_proj_dim=32),
    "opt_no_bias": t.OPTConfig(vocab_size=61, hidden_size=32, ffn_dim=40, num_hidden_layers=2, num_attention_heads=4,
                               max_position_embeddings=48, enable_bias=False, tie_word_embeddings=False),
}


def meaning(config):
    """What transformers computes with: its own defaults and derived values included."""
    skip = {"transformers_version", "dtype", "torch_dtype", "architectures", "_name_or_path", "eos_token_id", "pad_token_id",
            "bos_token_id", "max_window_layers"}
    result = {k: v for k, v in config.to_dict().items() if k not in skip}
    if result.get("n_inner", 0) is None:
        result["n_inner"] = 4 * result["n_embd"]
    return result

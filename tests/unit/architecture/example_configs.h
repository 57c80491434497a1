// A small config.json of each family, in transformers 4's spelling.
#pragma once

#include <map>
#include <string>

#include "base/json.h"

namespace retort {

inline Json example_config(const std::string& model_type) {
  static const std::map<std::string, const char*> kTexts = {
      {"llama",
       R"({"model_type":"llama","vocab_size":50,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":3,
        "num_attention_heads":4,"num_key_value_heads":2,"hidden_act":"silu","max_position_embeddings":64,"rms_norm_eps":1e-5,
        "rope_theta":500000.0,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"high_freq_factor":4.0,
        "original_max_position_embeddings":32},"bos_token_id":1,"eos_token_id":[2,3],"torch_dtype":"bfloat16",
        "attention_dropout":0.1,"my_own_key":[1]})"},
      {"mistral",
       R"({"model_type":"mistral","vocab_size":50,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,
        "num_attention_heads":4,"num_key_value_heads":2,"head_dim":8,"hidden_act":"silu","max_position_embeddings":64,
        "rms_norm_eps":1e-5,"rope_theta":10000.0,"sliding_window":8,"bos_token_id":1,"eos_token_id":2})"},
      {"qwen2",
       R"({"model_type":"qwen2","vocab_size":50,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":3,
        "num_attention_heads":4,"num_key_value_heads":2,"hidden_act":"silu","max_position_embeddings":64,"rms_norm_eps":1e-6,
        "rope_theta":1000000.0,"sliding_window":8,"use_sliding_window":false,"max_window_layers":1,"tie_word_embeddings":true,
        "eos_token_id":2})"},
      {"qwen3",
       R"({"model_type":"qwen3","vocab_size":50,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,
        "num_attention_heads":4,"num_key_value_heads":1,"head_dim":6,"hidden_act":"silu","max_position_embeddings":64,
        "rms_norm_eps":1e-6,"rope_theta":1000000.0,"attention_bias":false,"eos_token_id":2})"},
      {"gpt2",
       R"({"model_type":"gpt2","vocab_size":50,"n_embd":16,"n_layer":2,"n_head":4,"n_inner":null,"n_positions":32,
        "n_ctx":32,"activation_function":"gelu_new","layer_norm_epsilon":1e-5,"bos_token_id":49,"eos_token_id":49})"},
      {"opt", R"({"model_type":"opt","vocab_size":50,"hidden_size":16,"ffn_dim":24,"num_hidden_layers":2,
        "num_attention_heads":4,"max_position_embeddings":32,"activation_function":"relu","do_layer_norm_before":true,
        "word_embed_proj_dim":16,"enable_bias":true,"bos_token_id":2,"eos_token_id":2,"pad_token_id":1})"},
  };
  return Json::parse(kTexts.at(model_type));
}

}  // namespace retort

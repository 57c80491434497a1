"""Random small models of three families whose weights are all drawn: biases and norms too."""
import torch
import transformers as t

VOCABULARY = 97
small = dict(vocab_size=VOCABULARY, hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=64, attn_implementation="eager")
gpt2 = dict(vocab_size=VOCABULARY, n_positions=64, n_embd=48, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
            bos_token_id=1, eos_token_id=2, attn_implementation="eager")
opt = dict(vocab_size=VOCABULARY, hidden_size=48, ffn_dim=80, num_hidden_layers=2, num_attention_heads=4, dropout=0.0,
           max_position_embeddings=64, word_embed_proj_dim=48, attn_implementation="eager")


def random_model(config, seed):
    torch.manual_seed(seed)
    model = t.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.normal_(1 if "norm" in key or "ln_" in key else 0, 0.15)
    return model

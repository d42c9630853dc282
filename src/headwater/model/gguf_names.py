"""What llama.cpp calls our families, settings, modules and tokenizers in a GGUF file; the tables serve both ways.

No torch.
"""

from __future__ import annotations

from headwater.model.settings import Family, ModelSettings

FAMILIES: dict[str, Family] = {"llama": "llama", "qwen2": "llama", "qwen3": "qwen3", "gpt2": "gpt2"}
SIZES = {
    "block_count": "num_layers",
    "embedding_length": "d_model",
    "feed_forward_length": "d_ff",
    "attention.head_count": "num_heads",
    "context_length": "num_positions",
}
MODULES = {
    "embed": "token_embd",
    "positions": "position_embd",
    "final_norm": "output_norm",
    "head": "output",
    "attention_norm": "attn_norm",
    "attention.query": "attn_q",
    "attention.key": "attn_k",
    "attention.value": "attn_v",
    "attention.out": "attn_output",
    "attention.query_norm": "attn_q_norm",
    "attention.key_norm": "attn_k_norm",
    "mlp_norm": "ffn_norm",
    "mlp.gate": "ffn_gate",
    "mlp.up": "ffn_up",
    "mlp.down": "ffn_down",
}
PRE_TOKENIZERS = {
    "gpt2": "gpt-2",
    "smollm": "smollm",
    "qwen2": "qwen2",
    "llama3": "llama-bpe",
    "deepseek-llm": "deepseek-llm",
    "deepseek-coder": "deepseek-coder",
    "deepseek-v3": "deepseek-v3",
}
"By the names of tokenizer.foreign.PATTERNS."
NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # types of tokens


def architecture(model: ModelSettings) -> str:
    """Return their name for the model: a llama with biases is their qwen2."""
    return "qwen2" if model.family == "llama" and model.attention_bias else model.family


def norm_key(architecture: str) -> str:
    return "attention.layer_norm_epsilon" if architecture == "gpt2" else "attention.layer_norm_rms_epsilon"

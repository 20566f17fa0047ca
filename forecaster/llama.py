"""A Llama's forward pass for many continuations of one prompt.

``transformers`` copies the prompt's keys and values once per path and again at every token. Here
each prompt's cache is kept once: a path attends to it in place, beside its own short suffix. The
weights, norms and rotary embedding are the model's own modules, so LoRA and quantised layers work
unchanged; tests hold the logits against ``transformers`` itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stockllm.data.errors import ModelUnavailable


class SharedPrompts:
    """Decoding state of ``paths`` continuations of each of several prompts.

    :param model: a ``LlamaForCausalLM``, in ``eval()`` mode; PEFT-wrapped ones give their base model.
    :param prompts: token ids, one list a prompt; lengths may differ.
    :param room: the most tokens any continuation will have.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], paths: int, room: int) -> None:
        if model.config.model_type != "llama":
            raise ModelUnavailable(
                f"Only Llama models can be sampled, and this is a {model.config.model_type}: choose another."
            )
        self.model, self.paths = model, paths
        self.count = len(prompts)
        config = model.config
        self.kv_heads = config.num_key_value_heads
        self.groups = config.num_attention_heads // self.kv_heads
        self.head_dim = model.model.layers[0].self_attn.head_dim
        self.lengths = torch.tensor([len(p) for p in prompts], device=model.device)
        self.used = 0
        rows = self.count * paths
        layers = len(model.model.layers)
        shape = (layers, rows, self.kv_heads, room, self.head_dim)
        self.keys = torch.zeros(shape, dtype=model.dtype, device=model.device)
        self.values = torch.zeros_like(self.keys)
        self.prompt_keys: list[Tensor] = []
        self.prompt_values: list[Tensor] = []
        self.hidden = self._prefill(prompts)

    @torch.inference_mode()
    def _prefill(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Run the prompts once; keeps their keys and values, returns (prompts, hidden) of the last token."""
        longest = max(map(len, prompts))
        # Padding stands at the end: a causal model's real tokens never see it.
        ids = torch.tensor([[*p, *[p[-1]] * (longest - len(p))] for p in prompts], device=self.model.device)
        body = self.model.model
        hidden = body.embed_tokens(ids)
        positions = torch.arange(longest, device=ids.device).expand(self.count, -1)
        rotary = body.rotary_emb(hidden, positions)
        for layer in body.layers:
            query, key, value = self._project(layer, hidden, rotary)
            self.prompt_keys.append(key)
            self.prompt_values.append(value)
            mixed = torch.nn.functional.scaled_dot_product_attention(
                query, key, value, is_causal=True, enable_gqa=self.groups > 1
            )
            hidden = self._finish(layer, hidden, mixed.transpose(1, 2).flatten(2))
        padding = torch.arange(longest, device=ids.device)[None, :] >= self.lengths[:, None]
        self.prompt_bias = torch.zeros((self.count, 1, 1, longest), device=ids.device)
        self.prompt_bias.masked_fill_(padding[:, None, None, :], float("-inf"))
        last = hidden[torch.arange(self.count, device=ids.device), self.lengths - 1]
        return body.norm(last).repeat_interleave(self.paths, dim=0)

    @torch.inference_mode()
    def logits(self, columns: slice | None = None) -> Tensor:
        """Next-token logits, float32, shape (prompts x paths, vocabulary or len(columns))."""
        if columns is None:
            everything: Tensor = self.model.lm_head(self.hidden).float()
            return everything
        # The head is the widest product of a small model; a grammar needs only a few of its rows.
        return torch.nn.functional.linear(self.hidden, self.model.lm_head.weight[columns]).float()

    @torch.inference_mode()
    def advance(self, tokens: Tensor) -> None:
        """Append one token to every path; ``tokens`` has shape (prompts x paths,)."""
        body, now = self.model.model, self.used
        hidden = body.embed_tokens(tokens)[:, None]
        positions = (self.lengths + now).repeat_interleave(self.paths)[:, None]
        rotary = body.rotary_emb(hidden, positions)
        for index, layer in enumerate(body.layers):
            query, key, value = self._project(layer, hidden, rotary)
            self.keys[index, :, :, now : now + 1] = key
            self.values[index, :, :, now : now + 1] = value
            hidden = self._finish(layer, hidden, self._attend(index, query[:, :, 0]))
        self.used += 1
        self.hidden = body.norm(hidden[:, 0])

    def _attend(self, index: int, query: Tensor) -> Tensor:
        """Attention of each path's new token over its prompt and its own suffix.

        ``query`` has shape (rows, heads, d), the answer (rows, 1, heads x d).
        """
        count, paths, kv, groups, d = self.count, self.paths, self.kv_heads, self.groups, self.head_dim
        end = self.used + 1
        query = query * d**-0.5
        # All paths of a prompt are rows of one product with its keys: (count, kv, paths x groups, d).
        shared = query.view(count, paths, kv, groups, d).transpose(1, 2).reshape(count, kv, paths * groups, d)
        over_prompt = shared @ self.prompt_keys[index].transpose(2, 3) + self.prompt_bias.to(query.dtype)
        over_prompt = over_prompt.view(count, kv, paths, groups, -1).transpose(1, 2)
        own = query.view(count * paths, kv, groups, d)
        over_suffix = own @ self.keys[index, :, :, :end].transpose(2, 3)
        scores = torch.cat([over_prompt.reshape(count * paths, kv, groups, -1), over_suffix], dim=-1)
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
        longest = over_prompt.shape[-1]
        on_prompt = weights[..., :longest].view(count, paths, kv, groups, longest).transpose(1, 2)
        mixed = on_prompt.reshape(count, kv, paths * groups, longest) @ self.prompt_values[index]
        mixed = mixed.view(count, kv, paths, groups, d).transpose(1, 2).reshape(count * paths, kv, groups, d)
        mixed = mixed + weights[..., longest:] @ self.values[index, :, :, :end]
        return mixed.reshape(count * paths, 1, kv * groups * d)

    def _project(
        self, layer: Any, hidden: Tensor, rotary: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated query, rotated key and value, each (rows, heads, tokens, d)."""
        from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

        attention = layer.self_attn
        normed = layer.input_layernorm(hidden)
        shape = (*hidden.shape[:-1], -1, self.head_dim)
        query = attention.q_proj(normed).view(shape).transpose(1, 2)
        key = attention.k_proj(normed).view(shape).transpose(1, 2)
        value = attention.v_proj(normed).view(shape).transpose(1, 2)
        query, key = apply_rotary_pos_emb(query, key, *rotary)
        return query, key, value

    def _finish(self, layer: Any, hidden: Tensor, mixed: Tensor) -> Tensor:
        hidden = hidden + layer.self_attn.o_proj(mixed)
        result: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        return result

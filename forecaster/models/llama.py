"""A Llama's forward pass for many continuations of one prompt.

``transformers`` copies the prompt's keys and values once per path and again at every token. Here
each prompt's cache is kept once: a path attends to it in place, beside its own short suffix. The
weights, norms and rotary embedding are the model's own modules, so LoRA and quantised layers work
unchanged; tests hold the logits against ``transformers`` itself. What PEFT puts before a prompt, keys and
values (prefix tuning) or embeddings (prompt tuning, p-tuning), becomes part of that cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stockllm.data.errors import ModelUnavailable
from stockllm.forecaster.models.methods import causal

#: Attention scores computed at once on a CPU: 2 MiB of them.
SCORES = 1 << 19


class SharedPrompts:
    """Decoding state of ``paths`` continuations of each of several prompts.

    Rows are prompts x paths, the paths of one prompt beside each other.

    :param model: a ``LlamaForCausalLM`` in ``eval()`` mode, or PEFT's model around one.
    :param prompts: token ids, one list a prompt; lengths may differ.
    :param room: the most tokens any continuation will have.
    :raises ModelUnavailable: for another architecture.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], paths: int, room: int) -> None:
        if model.config.model_type != "llama":
            raise ModelUnavailable(
                f"Only Llama models can be sampled, and this is a {model.config.model_type}: choose another.",
                zh=f"只有 Llama 模型可以取樣，而這是 {model.config.model_type}：請換一個。",
            )
        self.prefix, self.virtual = before(model)
        self.model = model = causal(model)
        self.paths, self.room = paths, room
        self.count = len(prompts)
        config = model.config
        self.kv_heads = config.num_key_value_heads
        self.groups = config.num_attention_heads // self.kv_heads
        self.head_dim = model.model.layers[0].self_attn.head_dim
        rows = self.count * paths
        # How many tokens each row's continuation has; their slots in the suffix cache are 0 to that.
        self.used = torch.zeros(rows, dtype=torch.long, device=model.device)
        layers = len(model.model.layers)
        shape = (layers, rows, self.kv_heads, room, self.head_dim)
        self.keys = torch.zeros(shape, dtype=model.dtype, device=model.device)
        self.values = torch.zeros_like(self.keys)
        # By prompt and layer, (kv heads, d, length) and (kv heads, length, d).
        self.prompt_keys: list[list[Tensor]] = []
        self.prompt_values: list[list[Tensor]] = []
        last = torch.stack([self._prefill(prompt) for prompt in prompts])
        self.hidden = torch.repeat_interleave(last, paths, dim=0)
        extra = virtual_tokens(self.prefix, self.virtual)
        lengths = torch.tensor([extra + len(prompt) for prompt in prompts], device=model.device)
        self.starts = torch.repeat_interleave(lengths, paths)

    @torch.inference_mode()
    def _prefill(self, prompt: Sequence[int]) -> Tensor:
        """Run a prompt once; keeps its keys and values, returns (hidden,) of its last token."""
        body = self.model.model
        ids = torch.tensor([prompt], device=self.model.device)
        hidden = body.embed_tokens(ids)
        if self.virtual is not None:
            hidden = torch.cat((self.virtual[None], hidden), dim=1)
        first = 0 if self.prefix is None else self.prefix[0].shape[-2]
        length = hidden.shape[1]
        rotary = body.rotary_emb(hidden, torch.arange(first, first + length, device=ids.device)[None])
        # Behind a prefix, which every token sees, stands the triangle of those that came before.
        seen = None
        if self.prefix is not None:
            seen = torch.ones(length, first + length, dtype=torch.bool, device=ids.device).tril(first)
        self.prompt_keys.append([])
        self.prompt_values.append([])
        for index, layer in enumerate(body.layers):
            query, key, value = self._project(layer, hidden, rotary)
            if self.prefix is not None:
                key = torch.cat((self.prefix[0][index, None], key), dim=2)
                value = torch.cat((self.prefix[1][index, None], value), dim=2)
            # Transposed once here, as every token's product with them wants the keys.
            self.prompt_keys[-1].append(key[0].transpose(1, 2).contiguous())
            self.prompt_values[-1].append(value[0].contiguous())
            mixed = torch.nn.functional.scaled_dot_product_attention(
                query, key, value, attn_mask=seen, is_causal=seen is None, enable_gqa=self.groups > 1
            )
            hidden = self._finish(layer, hidden, mixed.transpose(1, 2).flatten(2))
        result: Tensor = body.norm(hidden[0, -1])
        return result

    @torch.inference_mode()
    def logits(self, rows: Tensor | None = None, columns: Tensor | slice | None = None) -> Tensor:
        """Next-token logits of some rows for some token ids, float32, shape (rows, columns)."""
        hidden = self.hidden if rows is None else self.hidden[rows]
        if columns is None:
            everything: Tensor = self.model.lm_head(hidden).float()
            return everything
        # The head is the widest product of a small model; a grammar needs only a few of its rows.
        return torch.nn.functional.linear(hidden, self.model.lm_head.weight[columns]).float()

    @torch.inference_mode()
    def advance(self, rows: Tensor, tokens: Tensor, counts: Tensor) -> None:
        """Append tokens to some rows: of ``tokens`` (rows, t) the first ``counts`` (rows,), 1 to t.

        ``rows`` ascend; the others stay where they are.
        """
        body = self.model.model
        step = torch.arange(tokens.shape[1], device=tokens.device)
        # The tokens that count, one after the other: where each stands in ``tokens``.
        at_row, at_step = (step < counts[:, None]).nonzero(as_tuple=True)
        of_row = rows[at_row]
        slots = self.used[of_row] + at_step
        own = _Suffixes(rows, at_row, at_step, tokens.shape[1], self.used)
        by_prompt = torch.bincount(of_row // self.paths, minlength=self.count).tolist()
        hidden = body.embed_tokens(tokens[at_row, at_step])[None]
        rotary = body.rotary_emb(hidden, (self.starts[of_row] + slots)[None])
        for index, layer in enumerate(body.layers):
            query, key, value = self._project(layer, hidden, rotary)
            self.keys[index][of_row, :, slots] = key[0].transpose(0, 1)
            self.values[index][of_row, :, slots] = value[0].transpose(0, 1)
            query = query[0].view(self.kv_heads, self.groups, -1, self.head_dim) * self.head_dim**-0.5
            over_prompt, total_prompt = self._over_prompts(index, query, by_prompt)
            over_suffix, total_suffix = own.attend(query, self.keys[index], self.values[index])
            # Each part is averaged on its own and weighed by its share of the whole.
            share = torch.sigmoid(total_suffix - total_prompt).to(query.dtype)
            mixed = torch.lerp(over_prompt, over_suffix, share)
            hidden = self._finish(layer, hidden, mixed.flatten(0, 1).transpose(0, 1).flatten(1)[None])
        self.used[rows] += counts
        self.hidden[rows] = body.norm(hidden[0, counts.cumsum(0) - 1])

    def _over_prompts(self, index: int, query: Tensor, by_prompt: list[int]) -> tuple[Tensor, Tensor]:
        """What tokens see of their prompts; ``by_prompt`` says how many tokens each prompt has.

        ``query`` has shape (kv heads, groups, tokens, d), as has the first answer; see `_average`.
        """
        averages, totals = [], []
        for prompt, tokens in enumerate(torch.split(query, by_prompt, dim=2)):
            keys, values = self.prompt_keys[prompt][index], self.prompt_values[prompt][index]
            # All tokens behind a prompt are rows of one product with its keys, or of a few that fit
            # into a CPU's cache.
            scores = self.kv_heads * self.groups * keys.shape[2]
            width = max(1, tokens.shape[2] if keys.is_cuda else SCORES // scores)
            for part in torch.split(tokens, width, dim=2):
                average, total = _average(part.flatten(1, 2) @ keys, values)
                averages.append(average.view(part.shape))
                totals.append(total.view(*part.shape[:3], 1))
        return torch.cat(averages, dim=2), torch.cat(totals, dim=2)

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


@torch.inference_mode()
def before(model: Any) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
    """What PEFT puts before each prompt of a model: keys and values, or embeddings, or neither.

    Keys and values have shape (layers, kv heads, n, d), embeddings (n, hidden).
    """
    config = getattr(model, "active_peft_config", None)
    if config is None or not config.is_prompt_learning:
        return None, None
    found = model.get_prompt(1)
    if torch.is_tensor(found):
        return None, found[0].to(model.dtype)
    layers = [(layer.keys[0], layer.values[0]) for layer in found.layers]
    keys, values = (torch.stack(part).to(model.dtype) for part in zip(*layers, strict=True))
    return (keys, values), None


def virtual_tokens(prefix: tuple[Tensor, Tensor] | None, virtual: Tensor | None) -> int:
    """How many places they take before the prompt's first token."""
    if prefix is not None:
        return prefix[0].shape[-2]
    return 0 if virtual is None else len(virtual)


class _Suffixes:
    """Attention of new tokens over what their own rows have said, themselves included.

    The tokens lie in a grid of rows and steps, whose other places are computed and thrown away.
    """

    def __init__(self, rows: Tensor, at_row: Tensor, at_step: Tensor, t: int, used: Tensor) -> None:
        # A view of all rows costs less than a copy of a third of them.
        self.rows = slice(None) if 3 * len(rows) > len(used) else rows
        self.at = (rows[at_row] if isinstance(self.rows, slice) else at_row), at_step
        used = used[self.rows]
        last = used[:, None] + torch.arange(t, device=used.device)
        self.end = int(used[self.at[0]].add(at_step).max()) + 1
        later = torch.arange(self.end, device=used.device) > last[:, :, None]
        self.bias = torch.zeros(later.shape, device=used.device).masked_fill_(later, float("-inf"))

    def attend(self, query: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """``query`` (kv heads, groups, tokens, d), ``keys`` and ``values`` (rows, kv heads, room, d)."""
        kv, groups, _, d = query.shape
        n, t, _ = self.bias.shape
        grid = query.new_zeros((n, t, kv, groups, d))
        grid[self.at] = query.permute(2, 0, 1, 3)
        scores = grid.permute(0, 2, 3, 1, 4).reshape(n, kv, groups * t, d) @ keys[self.rows, :, : self.end].mT
        biased = scores.view(n, kv, groups, t, -1) + self.bias[:, None, None]
        average, total = _average(biased.flatten(2, 3), values[self.rows, :, : self.end])

        def picked(grid: Tensor) -> Tensor:
            return grid.view(n, kv, groups, t, -1)[self.at[0], :, :, self.at[1]].permute(1, 2, 0, 3)

        return picked(average), picked(total)


def _average(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Values (..., n, d) averaged by softmax of scores (..., m, n), and the log of its denominator."""
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32)
    # The largest weight is exp(0) over the denominator.
    total = scores.amax(dim=-1, keepdim=True).float() - weights.amax(dim=-1, keepdim=True).log()
    return weights.to(values.dtype) @ values, total

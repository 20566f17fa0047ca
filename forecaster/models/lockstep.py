"""A plain Llama's forward pass for many paths that say the same number of tokens at a time.

In the second compact style every number is one token, so all paths of all prompts stay in step and
prompts of one length can be attended to together. Weights that read the same input are joined, norms are
multiplied into them, and PyTorch's fused attention gives each path its share of the prompt. `llama`
serves whatever does not fit here: adapters that stand before a prompt, quantised layers, other styles.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

#: Tokens of prompts that are read together.
PREFILL = 1 << 14


@dataclass(frozen=True, slots=True)
class _Layer:
    """One block: joined weights, with the norm before each multiplied in."""

    qkv: Tensor
    out: Tensor
    gate_up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True)
class Plain:
    """What a forward pass needs of a Llama."""

    layers: tuple[_Layer, ...]
    embedding: Tensor
    head: Tensor
    cos: Tensor
    sin: Tensor
    heads: int
    kv_heads: int
    width: int
    eps: float

    @classmethod
    def of(cls, model: Any, positions: int) -> Plain | None:
        """None for a model that is not made of plain layers alone, or whose weights are not float."""
        from transformers import LlamaForCausalLM

        # PEFT's wrappers hand out the attributes of the model inside, and add to its forward pass.
        if type(model) is not LlamaForCausalLM or model.config.hidden_act not in ("silu", "swish"):
            return None
        config, body = model.config, model.model
        for module in (*body.layers.modules(), model.lm_head):
            if not isinstance(module, torch.nn.Linear):
                continue
            if type(module) is not torch.nn.Linear or module.bias is not None:
                return None
        layers = []
        for layer in body.layers:
            attention, mlp = layer.self_attn, layer.mlp
            parts = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj, mlp.gate_proj)
            if not all(type(part) is torch.nn.Linear for part in (*parts, mlp.up_proj, mlp.down_proj)):
                return None
            before, after = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
            qkv = torch.cat([p.weight for p in (attention.q_proj, attention.k_proj, attention.v_proj)])
            gate_up = torch.cat((mlp.gate_proj.weight, mlp.up_proj.weight))
            layers.append(
                _Layer(
                    (qkv * before).t().contiguous(), attention.o_proj.weight.t().contiguous(),
                    (gate_up * after).t().contiguous(), mlp.down_proj.weight.t().contiguous(),
                )
            )  # fmt: skip
        place = torch.arange(positions, device=model.device)[None]
        cos, sin = body.rotary_emb(body.embed_tokens.weight[None, :1], place)
        width = body.layers[0].self_attn.head_dim
        head = (model.lm_head.weight * body.norm.weight).contiguous()
        return cls(
            tuple(layers), body.embed_tokens.weight, head, cos[0], sin[0], config.num_attention_heads,
            config.num_key_value_heads, width, config.rms_norm_eps,
        )  # fmt: skip


_known: weakref.WeakKeyDictionary[Any, tuple[int, Plain]] = weakref.WeakKeyDictionary()


@torch.inference_mode()
def plain(model: Any, positions: int) -> Plain | None:
    """`Plain.of` a model, kept until its weights change."""
    version = sum(parameter._version for parameter in model.parameters())
    kept = _known.get(model)
    if kept is not None and kept[0] == version and len(kept[1].cos) >= positions:
        return kept[1]
    found = Plain.of(model, positions)
    if found is not None:
        _known[model] = version, found
    return found


class Lockstep:
    """Decoding state of ``paths`` continuations of each of several prompts of one length.

    Rows are prompts x paths, the paths of one prompt beside each other.

    :param room: the most tokens any continuation will have.
    """

    def __init__(self, model: Plain, prompts: Sequence[Sequence[int]], paths: int, room: int) -> None:
        self.model, self.paths, self.count = model, paths, len(prompts)
        self.length, self.used = len(prompts[0]), 0
        rows = self.count * paths
        shape = (rows, model.kv_heads, room, model.width)
        kind = model.embedding
        self.keys = [kind.new_empty(shape) for _ in model.layers]
        self.values = [kind.new_empty(shape) for _ in model.layers]
        together = max(1, PREFILL // self.length)
        read: list[tuple[list[Tensor], list[Tensor], Tensor]] = []
        for first in range(0, self.count, together):
            read.append(self._prefill(prompts[first : first + together]))
        layers = range(len(model.layers))
        self.prompt_keys = [torch.cat([part[0][i] for part in read]) for i in layers]
        self.prompt_values = [torch.cat([part[1][i] for part in read]) for i in layers]
        self.hidden = torch.repeat_interleave(torch.cat([part[2] for part in read]), paths, dim=0)

    @torch.inference_mode()
    def _prefill(self, prompts: Sequence[Sequence[int]]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        model = self.model
        ids = torch.tensor(prompts, device=model.embedding.device)
        hidden = model.embedding[ids]
        cos, sin = model.cos[: self.length], model.sin[: self.length]
        all_keys, all_values = [], []
        for layer in model.layers:
            query, key, value = self._qkv(layer, hidden, cos, sin)
            all_keys.append(self._wide(key))
            all_values.append(self._wide(value))
            mixed = torch.nn.functional.scaled_dot_product_attention(
                query, all_keys[-1], all_values[-1], is_causal=True
            )
            hidden = self._finish(layer, hidden, mixed.transpose(1, 2).flatten(2))
        return all_keys, all_values, hidden[:, -1].contiguous()

    def _wide(self, part: Tensor) -> Tensor:
        """Keys or values, one for each query head."""
        groups = self.model.heads // self.model.kv_heads
        return part.contiguous() if groups == 1 else part.repeat_interleave(groups, dim=1)

    def _norm(self, hidden: Tensor) -> Tensor:
        scale = hidden.float().square().mean(-1, keepdim=True).add_(self.model.eps).rsqrt_()
        return hidden * scale.to(hidden.dtype)

    def _qkv(self, layer: _Layer, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated query and key, and value, each (batch, heads, tokens, width)."""
        model = self.model
        joined = self._norm(hidden) @ layer.qkv
        joined = joined.view(*joined.shape[:-1], -1, model.width)
        heads, both = model.heads, model.heads + model.kv_heads
        query, key, value = joined[..., :heads, :], joined[..., heads:both, :], joined[..., both:, :]
        cos, sin = cos[:, None], sin[:, None]

        def turned(part: Tensor) -> Tensor:
            half = model.width // 2
            other = torch.cat((-part[..., half:], part[..., :half]), dim=-1)
            return (part * cos + other * sin).transpose(1, 2)

        return turned(query), turned(key), value.transpose(1, 2)

    def _finish(self, layer: _Layer, hidden: Tensor, mixed: Tensor) -> Tensor:
        shape, flat = hidden.shape, hidden.flatten(0, -2)
        flat = torch.addmm(flat, mixed.flatten(0, -2), layer.out)
        gate, up = (self._norm(flat) @ layer.gate_up).chunk(2, dim=-1)
        wide = torch.nn.functional.silu(gate).mul_(up)
        return torch.addmm(flat, wide, layer.down).view(shape)

    @torch.inference_mode()
    def advance(self, tokens: Tensor) -> None:
        """Append ``tokens`` (rows, t) to the rows."""
        model, t = self.model, tokens.shape[1]
        place = slice(self.length + self.used, self.length + self.used + t)
        cos, sin = model.cos[place], model.sin[place]
        end = self.used + t
        later = None
        if t > 1:
            later = torch.ones(t, end, dtype=torch.bool, device=tokens.device).triu(self.used + 1)
        hidden = model.embedding[tokens]
        for i, layer in enumerate(model.layers):
            query, key, value = self._qkv(layer, hidden, cos, sin)
            self.keys[i][:, :, self.used : end] = key
            self.values[i][:, :, self.used : end] = value
            mixed = self._attend(i, query, end, later)
            hidden = self._finish(layer, hidden, mixed.transpose(1, 2).flatten(2))
        self.used = end
        self.hidden = hidden[:, -1].contiguous()

    def _attend(self, i: int, query: Tensor, end: int, later: Tensor | None) -> Tensor:
        """Attention over the prompt and over what each row has said, (rows, heads, t, width)."""
        model = self.model
        rows, heads, t, width = query.shape
        # All paths of a prompt ask it together.
        together = query.view(self.count, self.paths, heads, t, width).transpose(1, 2).flatten(2, 3)
        over, total = _fused(together, self.prompt_keys[i], self.prompt_values[i])
        over = over.view(self.count, heads, self.paths, t, width).transpose(1, 2).flatten(0, 1)
        total = total.view(self.count, heads, self.paths, t).transpose(1, 2).flatten(0, 1)
        groups = heads // model.kv_heads
        asked = query.reshape(rows, model.kv_heads, groups * t, width)
        scores = (asked @ self.keys[i][:, :, :end].mT) * width**-0.5
        if later is not None:
            scores = scores.view(rows, model.kv_heads, groups, t, end).masked_fill(later, float("-inf"))
            scores = scores.view(rows, model.kv_heads, groups * t, end)
        own = torch.logsumexp(scores, dim=-1, keepdim=True)
        said = torch.exp(scores - own) @ self.values[i][:, :, :end]
        said, own = said.reshape(rows, heads, t, width), own.reshape(rows, heads, t)
        share = torch.sigmoid(own - total)[..., None].to(said.dtype)
        return torch.lerp(over, said, share)

    @torch.inference_mode()
    def logits(self, first: int, many: int) -> Tensor:
        """Next-token logits of every row for ``many`` token ids from ``first`` on, float32."""
        return (self._norm(self.hidden) @ self.model.head[first : first + many].t()).float()


def _fused(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Attention without a mask and the log of its denominator, (batch, heads, n, d) and (batch, heads, n)."""
    if query.device.type == "cpu":
        found, total = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)
        if total.shape[1] != query.shape[1]:  # by token and head
            total = total.transpose(1, 2)
        return found, total
    scores = (query @ key.mT) * query.shape[-1] ** -0.5
    total = torch.logsumexp(scores.float(), dim=-1)
    return torch.softmax(scores, dim=-1) @ value, total

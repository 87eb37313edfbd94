"""What a tensor's name says: buffers, biases, normalisation, positions, tokens; and which names mean which layer."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SEPARATOR = re.compile(r"[./]")
_LONGEST = 96


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor's name taken apart: the layer's path with its separator, the layer's own name, the tensor's role."""

    parent: str
    owner: str
    role: str

    @property
    def outer(self) -> str:
        """The path around the layer, with its separator."""
        return self.parent[: len(self.parent) - len(self.owner) - 1] if self.owner else ""


def place(name: str) -> Place:
    """Take `name` apart at dots and slashes.

    >>> place("blocks.0.attn.qkv.weight")
    Place(parent='blocks.0.attn.qkv.', owner='qkv', role='weight')
    """
    role = _SEPARATOR.split(name)[-1]
    parent = name[: len(name) - len(role)]
    return Place(parent, _SEPARATOR.split(parent[:-1])[-1], role)


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("(?:" + "|".join(patterns) + ")", re.IGNORECASE)


def _is(pattern: re.Pattern[str], word: str) -> bool:
    """A whole-word match. A hostile word of thousands of characters is none of ours, and must not keep us busy."""
    return len(word) <= _LONGEST and pattern.fullmatch(word) is not None


# Roles that no optimiser changes: what PyTorch, timm, torchvision, transformers and well-known detectors register.
_BUFFER = _words(
    r"running_(mean|var|std)",
    r"num_batches_tracked|num_updates|n_averaged|step|decay|initialized|epoch",
    r"position_ids|token_type_ids|input_ids|pos_ids|coords?_?(table|grid)?|relative_coords(_table)?",
    r"relative_position_(index|buckets?)|attention_bias_idxs|rel_pos_index|rp_bucket|attn_mask|attention_mask|mask",
    r"(causal|tgt|src|key_padding|logits?|bias|attn)_mask|masked_bias|keep_mask",
    r"inv_freq|freqs?_cis|freqs_(cos|sin)|(cos|sin)_cached|cos|sin|rotary_(cos|sin)|periods|bands|pos_embed_cat",
    r"(min|max)_val|(in|out)put_(min|max)|std_(bias|scale)|scale_factor|zero_point|fake_quant_enabled|observer_enabled|\w+_buffer|activation_post_process.*",
    r"anchors?|anchor_(grid|points)|strides?|cell_anchors|priors?|prior_boxes|grid|pixel_(mean|std)|image_(mean|std)",
    r"mean|std|var|filt|blur_kernel|window|hann_window|fb|filterbank|mel_(filters|basis|fb)|dct_mat|fbank",
    r"queue|queue_ptr|center|teacher_center|cluster_size|embed_avg|ema_.*|codebook_usage|usage",
    r"betas|alphas_cumprod(_prev)?|sqrt_.*|log_one_minus_.*|posterior_.*|total_(ops|params)|k_cache|v_cache",
    r"_(u|v)|weight_u|_extra_state|dummy(_variable)?|device_indicator|_float_tensor|version",
)
_TOKEN = _words(
    r"(cls|dist|dst|class|reg|register|mask|mem|summary|global|pool|query|latent|prompt|sep|storage|gap|det|patch)_?tokens?",
    r"(storage|register|class|cls|null|mask|masked_spec)_?(token_)?(embed|emb|embedding)s?|cls|latents?|probe|queries",
)
_LAYER_SCALE = _words(
    r"gamma(_?\d+)?|layer_?scales?(_?\d+)?|lambda_?\w*|res_?scales?|skip_?gain|skip_scale|gain|layerscale_?\d*",
    r"alpha|beta|temperature|tau|logit_scale|scale|scales|ls_?\d*|g|inv_tau|norm_scale|head_scale",
)
_POSITION = _words(
    r"(\w+_)?pos(ition(al)?)?_?(embed(ding|dings|s)?|emb|embs|enc|encoding|encodings)(_?\w+)?",
    r"(\w+_)?(embed|emb)_?positions?|wpe|pe|pos|abs_pos|pos_(x|y|h|w)|(row|col)_embed",
    r"(\w+_)?rel(ative)?_?(pos(ition)?|attention|attn)(_?(bias|embed|embedding|emb|table|h|w|bias_table|encoding))?(_\w+)?",
    r"(relative_)?position_bias(_table)?|attention_bias(es)?|(height|width)_rel|embeddings_table_[kv]|k_pos|q_pos",
)
_POSITION_LAYER = _words(
    r"(\w+_)?pos(ition(al)?)?_?(embed(ding|dings|s)?|emb)|(embed|emb)_positions?|wpe|relative_attention_bias|distance_embedding"
)
_NORM_LAYER = _words(
    r"(\w+_)?(batch|layer|group|instance|rms|q|k|sub|pre|post|final|input|output|attn|mlp|ffn|ada)?_?norm(alization)?(_?\w+)?",
    r"(\w*_)?(bn|ln|gn|rms|layernorm|batchnorm)(_?\w+)?|(bn|ln|gn|norm|downsample_norm)\d*",
)
_NORM_MODULE = re.compile(
    r"(?:sync|frozen)?_?(?:batch|layer|group|instance|rms)_?norm\w*|\w*norm(?:[123]d|act\w*)?", re.IGNORECASE
)
_EMBEDDING_LAYER = _words(
    r"(\w+_)?(embed|embeds|embedding|embeddings|emb)\d*|(tok|token|word)_?(embed|embedding|emb)\w*|embed_tokens|wte|lut",
    r"shared|codebook|char_embed|item_embed|user_embed",
)
_BIAS = re.compile(r"(?:bias(?:_\w+)?|\w*_bias|b|b_?\d+|beta_?\d*|shift|offset)", re.IGNORECASE)
_WEIGHT = re.compile(
    r"(?:weight|w|w_?\d+|weight_\d+|weights?|kernel|matrix|\w+_weight|\w*proj(ection)?|[wu]_?\w{1,3})", re.IGNORECASE
)
_EXPERTS = re.compile(r"experts?(?:$|[._/])|(?:^|[._/])moe(?:$|[._/])|block_sparse_moe", re.IGNORECASE)
_EXPERT_ROLE = re.compile(
    r"(?:gate_up_proj|gate_proj|up_proj|down_proj|w[123]|fc[12]|mlp[12]_weight|wi|wo)(?:_blocks)?", re.IGNORECASE
)
_TRANSPOSED = re.compile(
    r"(?:\w*_)?(?:de_?conv|up_?conv|conv_?t|conv_?tr(?:ans)?|tconv|conv_?transposed?|trans_?conv|transposed?(?:_?conv)?|up)"
    r"(?:_?layers?)?_?\d*[a-z]?|deconv\w*|upconv\w*",
    re.IGNORECASE,
)
_DEPTHWISE = re.compile(r"(?:^|_)(?:dw|depth_?wise|dw_?conv|conv_?dw|dconv|depth_?conv)(?:_?\w*)?$", re.IGNORECASE)
_STEM = re.compile(
    r"(?:^|[._/])(?:\w*patch_?embed\w*|patch_?(?:conv|proj)\w*|\w*stem\w*|conv_?in|conv_?first|first_conv)(?:$|[._/])",
    re.IGNORECASE,
)
_SHORTCUT = re.compile(r"down_?sample|short_?cut|skip|identity|residual|proj", re.IGNORECASE)
_LORA = re.compile(r"(?:^|[._/])lora_?(a|b|down|up|embedding_a|embedding_b)(?:$|[._/])", re.IGNORECASE)
_PACKED_BITS = re.compile(
    r"qweight|qzeros|g_idx|w?scales|absmax|quant_map|nested_\w+|quant_state(?:\.\w+)?|weight_packed|weight_shape|\w+_blocks",
    re.IGNORECASE,
)

BIAS = "bias: not a weight matrix"
NORM_SCALE = "normalisation scale"
NORM_SHIFT = "normalisation shift"
VECTOR = "a vector: not a weight matrix"
POSITION = "position embedding: no matrix acts with it"
PACKED = "packed 4-bit weights are not decoded"


def is_buffer(role: str, shape: tuple[int, ...]) -> bool:
    """Whether the role is one that networks register as a buffer; GPT-2's causal mask hides as a square `bias`."""
    if _is(_BUFFER, role):
        return True
    return role == "bias" and len(shape) == 4 and shape[:2] == (1, 1) and shape[2] == shape[3] > 1


def added_parameter(where: Place, shape: tuple[int, ...]) -> str | None:
    """Why a trainable tensor that is added to or scales the signal is no weight matrix, or None if nothing says so."""
    if _is(_POSITION, where.role):
        return POSITION
    if where.role == "weight" and len(shape) == 2 and _is(_POSITION_LAYER, where.owner):
        return POSITION
    if _is(_TOKEN, where.role):
        return "learned token: an input, not a weight matrix"
    if where.role in ("A_log", "A_logs"):
        return "decay rates of a state space: no matrix acts with them"
    trivial = sum(n > 1 for n in shape) <= 1
    if trivial and _is(_LAYER_SCALE, where.role):
        return "layer scale: multiplies each channel"
    if len(shape) >= 3 and shape[0] == 1 and not _is(_WEIGHT, where.role):
        return "learned input that is added or appended: no matrix acts with it"
    return None


def is_norm_module(module: str) -> bool:
    """Whether the class is a normalisation layer."""
    return _is(_NORM_MODULE, module)


def is_norm_layer(owner: str) -> bool:
    """Whether a layer of this name is a normalisation."""
    return _is(_NORM_LAYER, owner)


def is_bias(role: str) -> bool:
    """Whether the role is a bias."""
    return _is(_BIAS, role)


def is_weight(role: str) -> bool:
    """Whether the role is one that layers give to the matrix that they multiply with."""
    return _is(_WEIGHT, role)


def is_embedding_layer(where: Place) -> bool:
    """Whether a layer of this name looks rows up in a table."""
    return _is(_EMBEDDING_LAYER, where.owner) and "patch" not in where.owner.lower()


def is_expert_stack(name: str, where: Place) -> bool:
    """Whether a three-dimensional tensor of this name stacks the matrices of several experts."""
    return _is(_EXPERT_ROLE, where.role) or bool(_EXPERTS.search(name[:1000]))


def says_transposed(where: Place) -> bool:
    """Whether the layer is named like a transposed convolution (`deconv`, `upconv`, `up`, `deconv_layers.0`)."""
    around = _SEPARATOR.split(where.outer[:-1])[-1]
    # In a plain list only an unmistakable name counts: `up.0.conv1` is an ordinary convolution after upsampling.
    listed = where.owner.isdigit() and around.lower() != "up" and _is(_TRANSPOSED, around)
    return _is(_TRANSPOSED, where.owner) or listed


def says_depthwise(where: Place) -> bool:
    """Whether the layer, or the block right around it, is named depthwise."""
    around = _SEPARATOR.split(where.outer[:-1])[-1]
    return bool(_DEPTHWISE.search(where.owner[-_LONGEST:]) or _DEPTHWISE.search(around[-_LONGEST:]))


def says_stem(name: str) -> bool:
    """Whether the tensor belongs to a layer that looks at raw input."""
    return bool(_STEM.search(name[:1000]))


def says_shortcut(where: Place) -> bool:
    """Whether the layer runs beside others: its input is not what the layer before it puts out."""
    return bool(_SHORTCUT.search(where.owner[-_LONGEST:]) or _SHORTCUT.search(where.outer[-_LONGEST:]))


def lora_factor(name: str) -> str | None:
    """ "A" or "B" for a low-rank adapter's factor (A compresses, B expands), else None."""
    found = _LORA.search(name[-1000:])
    if found is None:
        return None
    return "A" if found[1].lower() in ("a", "down", "embedding_a") else "B"


def is_packed_bits(role: str) -> bool:
    """Whether the role is a part of a GPTQ, AWQ or bitsandbytes weight."""
    return _is(_PACKED_BITS, role)
